"""Load on an endpoint: requests from processes of their own, and what their timings say."""

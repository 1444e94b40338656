"""Example requests: what people say, and what is to be called for it."""

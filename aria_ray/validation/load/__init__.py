"""Load on an endpoint: requests from client processes, and the evaluation of their timings.

The surface, imported from its module (nothing is imported here, so that a light import stays light):

- `generator`: `Load`, `prompts`, `measure_load` and its `LoadResult`.
- `latency`: `summarise`, and the single figures that it consists of (`rate_interval`, `goodput_per_s`, ...).
- `stability`: `sustained_load` and `summarise_stability`.

`processes` holds the client processes, for `generator` alone.
"""

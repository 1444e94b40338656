"""The Berkeley Function Calling Leaderboard's questions on an endpoint, and a checker of the answers.

The surface, imported from its module (nothing is imported here, so that a light import stays light):

- `questions`: `read_questions`, `run_bfcl`, `judge`, `summarise`, with `Question` and `BfclResult`.
- `checker`: `calls_problem`, the leaderboard's rules for Python.
"""

"""Verified tool-calling conversations: templates in YAML, rows made by Ray Data, checks that can fail the run."""

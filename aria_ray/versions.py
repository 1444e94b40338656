"""Versions of other people's packages that this one works with.

pyproject.toml, requirements.lock, the Makefile and the cluster files name versions too; tests/unit/test_versions.py compares
them with these.
"""

PINNED = {"ray": "2.60.0", "vllm": "0.29.0"}
"""The only versions tested together. Ray Serve LLM calls private parts of vLLM, so another pair may not serve."""

LEAST = {"torch": "2.13", "transformers": "5.10", "peft": "0.21", "pydantic": "2.12"}
"""The oldest version of each that has what is used here."""

BFCL_EVAL = "2026.3.23"
"""The release whose questions and answers are read. Not a dependency: its own ones contradict ours."""

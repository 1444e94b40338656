# `make run` and `make test` are the two commands a newcomer needs; each does all its set-up.
PYTHON ?= python3
# What pip has been told about local wheel folders, uv has to be told again.
empty :=
comma := ,
export UV_FIND_LINKS ?= $(subst $(empty) $(empty),$(comma),$(strip $(PIP_FIND_LINKS)))
UV := .venv/bin/uv
UV_VERSION := 0.13.9
# Those of `requires-python` in pyproject.toml.
PYTHONS := 3.11 3.12 3.13
# The Berkeley leaderboard's questions and answers; its own runner, whose requirements contradict ours, is not used.
BFCL_VERSION := 2026.3.23
# `make lock LOCK_OPTIONS=` keeps the pins that still fit and adds what is missing.
LOCK_OPTIONS ?= --upgrade
# No model hub is needed: the base model of the laptop recipe comes as a package.
export HF_HUB_OFFLINE ?= 1

PYTEST := .venv/bin/python -m pytest --durations=10
# Two tests at a time; those that share what is dear to make go to one process.
PARALLEL := -n 2 --dist loadgroup
# Markers of pyproject.toml: what `make quick` leaves out.
HEAVY := browser or gpu or index or ray or subprocess or training or triton or vllm

.PHONY: run test quick heavy unit integration lint format docs lock resolve clean
.DEFAULT_GOAL := run

run: .venv/installed ## the main job with the default recipe: data, training, endpoint, proof
	.venv/bin/aria run laptop

quick: .venv/installed ## the unit tests that need none of what markers name: no vLLM, Triton, Ray or processes; a minute
	$(PYTEST) $(PARALLEL) -m "not ($(HEAVY))" tests/unit

heavy: .venv/installed ## the other unit tests
	$(PYTEST) $(PARALLEL) -m "$(HEAVY)" tests/unit

integration: .venv/installed ## a real Ray, training, vLLM and browser; most of the half hour that all tests take on 2 cores
	$(PYTEST) --durations=25 tests/integration

unit: quick heavy

test: unit integration ## all tests

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/installed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: .venv/installed ## the site, into docs/_build/html; a broken link or a page in no table of contents fails
	.venv/bin/python docs/make_settings.py
	.venv/bin/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet --builder html docs docs/_build/html

# The libraries are compiled here, once: dozens of Ray's processes import them, and where PYTHONDONTWRITEBYTECODE is set, as
# containers do, each would compile them anew (vLLM: 30 s against 10 s).
.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip install --python .venv --compile-bytecode --constraint requirements.lock --editable '.[cpu,dev]'
	$(UV) pip install --python .venv --no-deps bfcl-eval==$(BFCL_VERSION)
	touch $@

lock: .venv/installed ## pin every package again; the file names no package host
	$(UV) pip compile pyproject.toml --extra cpu --extra dev --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file requirements.lock $(LOCK_OPTIONS)

# Wheels only, for glibc 2.31 and newer: whoever installs the package compiles nothing. The lock is the constraint.
resolve: .venv/installed ## does every dependency have wheels for each Python and processor that we name? Asks the package index
	@for machine in x86_64 aarch64; do for python in $(PYTHONS); do \
		$(UV) pip compile pyproject.toml --extra cpu --extra dev --constraint requirements.lock --only-binary :all: --quiet \
			--python-version $$python --python-platform $$machine-manylinux_2_31 --output-file .venv/resolved.txt > /dev/null \
			|| exit 1; \
		echo "Python $$python, $$machine: $$(grep -c == .venv/resolved.txt) packages, all with wheels"; \
	done; done

clean:
	rm -rf .venv

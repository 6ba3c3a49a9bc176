# modsync: every target is listed by `make help`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# --- set-up ---------------------------------------------------------------------------------------------------------

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "modsync needs Python 3.11 or newer; say which one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "installing modsync and its tools into $(VENV)/ (the first time this downloads about 150 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: install
install: $(STAMP) ## set up .venv/ with modsync, its tools and the lock file's exact versions

# --- quality --------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: $(STAMP) ## ruff, mypy strict, import-linter, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint deploy/Dockerfile

.PHONY: format
format: $(STAMP) ## let ruff format the code and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: $(STAMP) ## write requirements*.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --quiet -o requirements.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --quiet -o requirements-dev.lock

# --- running ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMP) ## the main job for real, with live progress; ONCE=1 ends by itself
	@ONCE=$(ONCE) $(BIN)/python -m tests.sandbox.demo

.PHONY: run
run: $(STAMP) ## start redis, web, worker and sweeper with ./modsync.toml (honcho)
	@exec $(BIN)/honcho start -f Procfile

# --- tests --------------------------------------------------------------------------------------------------------

# REQUIRE_ALL=1 forbids skips; ARGS goes to pytest: make test ARGS="tests/unit -k refs"
REQUIRE_ALL ?= 0
ARGS ?=
WORKERS ?= 3

# In two parts: what bounds how long a recovery takes wants the machine for itself.
RUN = MODSYNC_REQUIRE_ALL=$(REQUIRE_ALL) $(MEASURED) pytest
MEASURED = $(BIN)/python -m

.PHONY: test
test: $(STAMP) ## all tests that run without root; REQUIRE_ALL=1 forbids skips
ifeq ($(strip $(ARGS)),)
	$(RUN) -n $(WORKERS) --dist worksteal -m "not athens and not public and not alone"
	$(RUN) -m alone
else
	$(RUN) -n $(WORKERS) --dist worksteal $(ARGS)
endif

.PHONY: coverage
coverage: $(STAMP) ## the same, half as fast, with a report of the lines that no test reached
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test MEASURED="$(BIN)/coverage run -m"
	@$(BIN)/coverage combine --quiet
	@if [ -z "$(ARGS)" ]; then $(BIN)/coverage report; else $(BIN)/coverage report --fail-under=0 | tail -1; fi

.PHONY: unit
unit: $(STAMP) ## the unit tests only: a minute
	$(BIN)/pytest tests/unit -q $(ARGS)

.PHONY: public-sums
public-sums: $(STAMP) ## recorded go.sum lines of public modules, whose clones MODSYNC_PUBLIC_REPOSITORIES names
	$(BIN)/pytest -m public $(ARGS)

.PHONY: athens
athens: $(STAMP) ## the tests that need a real Athens: built by go install, where the Go module proxy gives it out
	MODSYNC_REQUIRE_ALL=$(REQUIRE_ALL) $(BIN)/pytest -m athens $(ARGS)

SEED ?=
MINUTES ?= 3
DATABASE ?= sqlite

.PHONY: chaos
chaos: $(STAMP) ## kill, pause and break everything while releases arrive: SEED=n MINUTES=m DATABASE=sqlite|postgresql
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES) --database $(DATABASE)

.PHONY: bench-intake
bench-intake: $(STAMP) ## intake against a bare Flask view, at 16 and 256 connections, on SQLite and PostgreSQL
	@$(BIN)/python -m tests.benchmarks.bench_intake

.PHONY: bench
bench: $(STAMP) ## cost of everything against the barest way to do the same: lines, bench-results/bench.json and .svg
	@$(BIN)/python -m tests.benchmarks

.PHONY: bench-large
bench-large: $(STAMP) ## the same for a million runs, and for reconciling two thousand repositories
	@$(BIN)/python -m tests.benchmarks --large

.PHONY: bench-growth
bench-growth: $(STAMP) ## how cost grows with commits, tags, files, repositories, runs: lines, bench-results/growth.md and .svg
	@$(BIN)/python -m tests.benchmarks growth

.PHONY: clean
clean: ## remove what tests and tools left (not .venv, not var)
	rm -rf .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

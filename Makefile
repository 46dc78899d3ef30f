PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-14s %s\n", $$1, $$2}'

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(INSTALLED)

install: $(INSTALLED) ## Make .venv and install the package with its exact versions

quickstart: $(INSTALLED) ## Install, then run all three recipes on synthetic speech, offline
	HF_HUB_OFFLINE=1 $(BIN)/hf-ser quickstart --output-dir quickstart

test: $(INSTALLED) ## Run the linters, the types and the tests (no network, no GPU)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

test-slow: $(INSTALLED) ## Run the tests that take minutes
	$(BIN)/python -m pytest -q -m slow

# torch stays: its releases are large, and each fits few of the others.
.venv-floor/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv-floor
	{ grep '^torch==' constraints.txt; grep -v '^    torch ' setup.cfg | sed -n 's/^    \([a-z0-9_-]*\) >=/\1==/p'; } > .venv-floor/constraints.txt
	.venv-floor/bin/python -m pip install --quiet --constraint .venv-floor/constraints.txt --editable '.[test]'
	@touch $@

test-floor: .venv-floor/installed ## Run the tests with the lowest versions that setup.cfg admits
	.venv-floor/bin/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

.venv-latest/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv-latest
	grep '^torch==' constraints.txt > .venv-latest/constraints.txt
	.venv-latest/bin/python -m pip install --quiet --upgrade --constraint .venv-latest/constraints.txt --editable '.[test]'
	@touch $@

test-latest: .venv-latest/installed ## Run the tests with the newest versions of all dependencies but torch
	.venv-latest/bin/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

coverage: $(INSTALLED) ## Run the tests and show the lines they miss
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow' --cov --cov-report=term

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

cards: $(INSTALLED) ## Render the golden model cards again (RUNS="DIR ...": from the records of these runs)
	$(BIN)/python tests/hub/golden.py $(RUNS)

clean: ## Remove what the targets made
	rm -rf $(VENV) .venv-floor .venv-latest quickstart build dist .pytest_cache .mypy_cache .ruff_cache

.PHONY: help install quickstart test test-slow test-floor test-latest coverage format cards clean

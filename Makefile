# Every target makes or reuses .venv by itself; only Python 3.11+ and make are needed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format docs bench claims clean

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt tools/set_up.sh
	PYTHON="$(PYTHON)" bash tools/set_up.sh $(VENV)
	@touch $(STAMP)

demo: $(STAMP) ## train a language model with PROF, show that it learnt, leave runs/demo-*
	bash tools/demo.sh $(BIN)

test: $(STAMP) ## the default tests, within minutes
	$(BIN)/python -m pytest -n 2

test-slow: $(STAMP) ## the slow tests
	$(BIN)/python -m pytest -m slow

lint: $(STAMP) ## ruff, mypy, import-linter
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## sort imports and mend what ruff can
	$(BIN)/ruff check --fix src tests tools benchmarks

docs: $(STAMP) ## build the documentation into site/
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/python tools/papers_table.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP) ## time against TRL and verl
	$(BIN)/guerdon bench ops
	$(BIN)/guerdon bench trainer

claims: $(STAMP) ## run the papers' claims; finished seeds are never run again
	$(BIN)/guerdon reproduce prof

clean: ## remove .venv and what the tools left
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis

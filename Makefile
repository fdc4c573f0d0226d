# Every target makes .venv, or reuses it; a machine needs only Python 3.11 or newer, and make.
#   make PYTHON=/path/to/python3.12 test     picks the Python that .venv is made with
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format docs docs-serve verl bench claims tables hooks clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# A stamp stands for a finished set-up: it is written last, so that a failed one is tried again.
STAMP := $(VENV)/.set-up
DOCS_STAMP := $(VENV)/.set-up-docs
VERL_STAMP := $(VENV)/.set-up-verl
WORKERS ?= 2

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt tools/set_up.sh
	@PYTHON="$(PYTHON)" sh tools/set_up.sh $(VENV)
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@echo "installing what the documentation is built with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

# verl's dependencies want an older packaging (so an older virtualenv) and antlr than the tests run with.
$(VERL_STAMP): $(STAMP)
	@echo "installing verl (about 400 MB) ..."
	@grep -vE '^(antlr4-python3-runtime|packaging|virtualenv)==' constraints.txt >$(VENV)/constraints-verl.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints-verl.txt -e '.[verl]'
	@touch $@

demo: $(STAMP) ## train a language model with PROF, show that it learnt, leave runs/demo-N
	@sh tools/demo.sh $(BIN)

test: $(STAMP) ## run the tests (all but the slow ones)
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(STAMP) ## run the slow tests
	$(BIN)/python -m pytest -m slow

lint: $(STAMP) ## check style, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_STAMP) tables ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(DOCS_STAMP) tables ## show the documentation on a local port, following changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

tables: $(STAMP) ## write the tables of README.md and docs/ anew from the code and the results
	$(BIN)/python -m tools.papers_table
	$(BIN)/python -m tools.results_tables
	$(BIN)/python -m tools.stage_tables
	$(BIN)/python -m tools.hostile_table

verl: $(VERL_STAMP) ## add verl to .venv, for the benchmarks against it

bench: $(STAMP) ## time against TRL and verl, and record the figures in docs/benchmarks
	sh tools/bench.sh $(BIN)
	$(BIN)/python -m tools.results_tables

claims: $(STAMP) ## run the papers' claims; a finished seed is never run again
	sh tools/claims.sh $(BIN)
	$(BIN)/python -m tools.papers_table
	$(BIN)/python -m tools.results_tables

hooks: $(STAMP) ## run the checks of `make lint` before every commit
	$(BIN)/pre-commit install

clean: ## remove .venv and what the tools left; runs/ stays
	rm -rf $(VENV) site dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

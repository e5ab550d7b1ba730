# One environment, .venv, serves every target: whichever comes first makes it, the others find it.
#
#   make demo                     install, then run the whole of it on a tiny model
#   make test                     install, then run the tests, without those that take minutes
#   make test PYTHON=python3.12   with another interpreter (`make clean` first if .venv exists)
#
# Installing waits for nothing but pyproject.toml: it is done again when that file changes.

# The first that runs and is new enough.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
EXTRAS := all,docs,dev
# More processes are faster where there are cores and about 1.5 GB of memory for each.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo test test-all lint types floors format clean

help:
	@echo "make demo      the whole of it on a tiny model: data, training, evaluation"
	@echo "make test      the tests, without those that take minutes"
	@echo "make test-all  all tests"
	@echo "make lint      ruff: faults and format"
	@echo "make types     mypy, strict"
	@echo "make floors    import-linter: who may import whom"
	@echo "make format    put the code into its format"
	@echo "make clean     remove .venv, caches and builds; runs/ stays"

demo: $(INSTALLED)
	$(BIN)/longvt demo

# More threads than cores would only wait for each other.
test test-all: export OMP_NUM_THREADS ?= 1

test: $(INSTALLED)
	$(BIN)/pytest -m "not slow" -n $(WORKERS)

test-all: $(INSTALLED)
	$(BIN)/pytest -n $(WORKERS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

floors: $(INSTALLED)
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# An installation that was interrupted leaves no mark and is taken up again.
$(INSTALLED): pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "longvt-plugins needs Python 3.11 or newer; $(or $(PYTHON),no python3 here) is not. Name one: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): some minutes and 7 GB at the first time"
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

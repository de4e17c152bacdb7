# make demo: a small data set, to see what this does.   make test: lint, types and tests.
# Both set up an environment of their own in .venv, once. PYTHON=python3.12 picks another Python.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt

.PHONY: demo test lint types tests clean

demo: $(VENV)/runtime
	$(BIN)/cellsynth generate --preset celegans --count 2 --res 96 --out demo/celegans-96 --overwrite --no-report
	$(BIN)/cellsynth texture demo/celegans-96 --engine optics --mode 3d
	$(BIN)/cellsynth validate demo/celegans-96
	@echo
	@echo "Your data set lies in $(CURDIR)/demo/celegans-96; open 01 and 01_GT/TRA in napari or Fiji,"
	@echo "and demo/celegans-96/report.html in a browser."
	@echo "Next:  . $(BIN)/activate  and  cellsynth generate --preset celegans --count 33 --res 384"

test: lint types tests

lint: $(VENV)/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/test
	$(BIN)/mypy

tests: $(VENV)/test
	$(BIN)/python -m pytest

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; give another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# What is installed depends on these files alone; the package itself is linked, not copied.
$(VENV)/runtime: $(VENV)/python pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/test: $(VENV)/python pyproject.toml constraints.txt
	$(PIP) -e '.[test]'
	@touch $@ $(VENV)/runtime

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

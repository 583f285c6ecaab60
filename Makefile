# Two commands: `make demo` and `make test`. Both make their own environment in .venv first.
#   PYTHON=python3.12   another interpreter      DATA=path   MNIST (see examples/datasets.py)

PYTHON ?= python3
DATA ?=
VENV := .venv
BIN := $(VENV)/bin
# Touched after an install: the environment is made anew only when pyproject.toml changes.
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/python -m examples.demo $(if $(DATA),--data '$(DATA)')

test: lint
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "jitgraph needs Python 3.11 or newer, and $(PYTHON) is" \
	        "$$($(PYTHON) --version 2>&1 || true); try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,examples]'
	@touch $@

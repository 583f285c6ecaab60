# `make demo` and `make test` make their own environment in .venv first, `make bench` and
# `make bench-quick` in .venv-bench.
#   PYTHON=python3.12   another interpreter      DATA=path   MNIST (see examples/datasets.py)
#   PEERS=numpy,jax     of the benchmark, jitgraph besides      TORCH=   do without torch
# `make test-gpu` and `make bench-gpu` take $(PYTHON) as it is where it has numpy, llvmlite and
# cuda-bindings (nothing is fetched then), else .venv.
#   DEVICE=cuda:1       another GPU, or simulated               ARGS=--list   more of their options

PYTHON ?= python3
DATA ?=
VENV := .venv
BIN := $(VENV)/bin
# Touched after an install: the environment is made anew only when pyproject.toml changes.
INSTALLED := $(VENV)/.installed

BENCH := .venv-bench
BENCH_INSTALLED := $(BENCH)/.installed
PEERS ?=
DEVICE ?= cuda
ARGS ?=
# The wheel without CUDA: the ordinary one draws gigabytes of libraries along. TORCH_INDEX is the
# address of an index that has it, where pip does not know one; TORCH=torch takes the ordinary wheel.
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?=

.PHONY: demo test lint bench bench-quick test-gpu bench-gpu clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/python -m examples.demo $(if $(DATA),--data '$(DATA)')

test: lint
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(BENCH_INSTALLED)
	$(BENCH)/bin/python -m bench $(if $(PEERS),--peers jitgraph,$(PEERS))

bench-quick: $(BENCH_INSTALLED)
	$(BENCH)/bin/python -m bench --quick $(if $(PEERS),--peers jitgraph,$(PEERS))

test-gpu:
	$(call on_gpu,tests.device)

bench-gpu:
	$(call on_gpu,bench.gpu)

clean:
	rm -rf $(VENV) $(BENCH) build out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

define on_gpu
@if $(PYTHON) -c 'import numpy, llvmlite, cuda.bindings' 2>/dev/null; then \
    exec $(PYTHON) -m $(1) --device $(DEVICE) $(ARGS); fi; \
$(MAKE) $(INSTALLED) && $(BIN)/python -m pip install --quiet --disable-pip-version-check \
    --editable '.[cuda]' && exec $(BIN)/python -m $(1) --device $(DEVICE) $(ARGS)
endef

define make_environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
    echo "jitgraph needs Python 3.11 or newer, and $(PYTHON) is" \
        "$$($(PYTHON) --version 2>&1 || true); try: make PYTHON=python3.12" >&2; exit 1; }
$(PYTHON) -m venv $(1)
endef

$(INSTALLED): pyproject.toml
	$(call make_environment,$(VENV))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,examples]'
	@touch $@

# Peers that cannot be had are left out, one by one; the report says so. Numba holds the
# environment's llvmlite back, so jitgraph's process gets one of its own.
$(BENCH_INSTALLED): pyproject.toml
	$(call make_environment,$(BENCH))
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@for peer in numexpr numba 'jax[cpu]' pytensor drjit; do \
	    $(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check "$$peer" \
	        || echo "$$peer cannot be installed: left out" >&2; done
	@$(if $(TORCH),$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)' \
	    || echo "$(TORCH) cannot be installed: left out" >&2,true)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --target $(BENCH)/jitgraph --upgrade llvmlite
	@touch $@

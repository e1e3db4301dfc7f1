# `make demo` runs the main study from a fresh clone, `make test` every check; each sets up what it needs in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
OURS := rrm tasks assistants tests benchmarks

.PHONY: demo test format clean

demo: .venv/installed
	$(BIN)/rrm run configs/demo.toml --out runs/demo

test: .venv/developing
	$(BIN)/ruff format --check $(OURS)
	$(BIN)/ruff check $(OURS)
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: .venv/developing
	$(BIN)/ruff format $(OURS)
	$(BIN)/ruff check --fix $(OURS)

# torch comes first and by version: left to itself, pip would bring a larger build with several GB of CUDA.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/developing: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[dev,plot]"
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

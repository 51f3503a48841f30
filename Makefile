# The two commands are `make demo` and `make test`; both need only Python 3.11+ and make.
#   PYTHON=python3.12   another interpreter for the environment
#   PIP_ARGS="..."      passed to pip, for instance the index option that the install page of PyTorch gives for the CPU build
#   PYTEST_ARGS="..."   passed to pytest, for instance -k resume

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
# At toy size one thread in each of several workers beats several threads in one worker.
WORKERS ?= logical

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint docs clean

help:
	@echo "make demo   train, fine-tune and compare small encoders on built-in text"
	@echo "make test   lint, types, then every test (GPU tests where there is a GPU)"
	@echo "make lint   ruff, ruff format --check and mypy --strict"
	@echo "make docs   build the documentation into site/, links checked"
	@echo "make clean  remove the environment and what was built"

demo: $(STAMP)
	@$(BIN)/slimbert demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One environment for everything, built once and again only when a list of dependencies changes.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "make: $$($(PYTHON) --version 2>&1) is too old; slimbert needs 3.11 or newer, name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { echo "make: $(PYTHON) cannot make environments; install its venv module (Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable ".[dev]"
	@touch $@

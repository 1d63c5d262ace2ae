# Everything a developer runs. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types chaos soak bench docs lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | column -t -s '|'

$(VENV)/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "coord needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V); set PYTHON="; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/ready ## see eight trainers find each other, learn and share, and a validator measure it (about a minute)
	@$(BIN)/coord demo

test: $(VENV)/ready ## the whole suite: fakeredis, the embedded Valkey, Redis where installed
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 \
	  --dist worksteal

check: format lint types test ## all that must hold before a commit

format: $(VENV)/ready ## is everything formatted?
	$(BIN)/ruff format --check .

lint: $(VENV)/ready ## does the linter agree?
	$(BIN)/ruff check .

types: $(VENV)/ready ## does the type checker agree?
	$(BIN)/mypy

docs: $(VENV)/ready ## of the tests, those of the documents: do links lead somewhere, and examples run?
	$(BIN)/pytest tests/test_docs.py tests/test_validation_docs.py

chaos: $(VENV)/ready ## the long fault runs
	$(BIN)/pytest tests/chaos

soak: $(VENV)/ready ## twelve trainers for ten minutes, killed and stopped at random
	$(BIN)/python -m bench.soak

bench: $(VENV)/ready ## the benchmarks; they print the tables of docs/benchmarks.md
	$(BIN)/python -m bench.routing
	$(BIN)/python -m bench.gateway
	$(BIN)/python -m bench.search
	$(BIN)/python -m bench.joint
	$(BIN)/python -m bench.split_search
	$(BIN)/python -m bench.units
	$(BIN)/python -m bench.collaborate
	$(BIN)/python -m bench.validation
	$(BIN)/python -m bench.generated
	$(BIN)/python -m bench.evaluations
	$(BIN)/python -m bench.archive
	$(BIN)/python -m bench.dashboard

lock: $(VENV)/ready ## choose the newest versions of all dependencies anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-emit-index-url \
	  --no-header --no-annotate --upgrade pyproject.toml requirements-build.in --output-file requirements.lock

clean: ## remove what was installed and cached
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

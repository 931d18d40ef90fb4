# Every developer command is here. `make demo` and `make test` work alone on a fresh machine with Python 3.11+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench clean

demo: $(VENV)/.demo
	$(BIN)/cormorant demo

# What measures runs by itself; all others side by side.
ALONE := $(addprefix tests/lab/test_,claims.py compare.py trace.py) tests/test_auto.py tests/cli/test_cli_compare.py \
	tests/crawl/test_politeness_on_the_wire.py tests/fleet/test_fleet_politeness.py tests/fleet/test_ray.py

test: $(VENV)/.dev
ifdef TESTS
	$(BIN)/python -m pytest $(TESTS)
else
	$(BIN)/python -m pytest -n 3 --dist worksteal $(addprefix --ignore=,$(ALONE)); side_by_side=$$?; \
	$(BIN)/python -m pytest $(ALONE) && exit $$side_by_side
endif

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cormorant needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[all,dev]'
	touch $@ $(VENV)/.demo

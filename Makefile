# Everything starts from `python3` (3.11 or newer) and `make`; the virtual environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= demo
WORKERS ?= 2

# A second Python: its own virtual environment, and by default the tests of both halves that are fast, with the examples
# of all docstrings.
PYTHON_OTHER ?= python3.13
VENV_OTHER := .venv-$(patsubst python%,%,$(notdir $(PYTHON_OTHER)))
STAMP_OTHER := $(VENV_OTHER)/.installed
TESTS_OTHER ?= tests/diagrams tests/spacetimes tests/optimizers tests/svg tests/test_docstrings.py tests/test_house.py \
  tests/test_progress.py tests/test_terminal.py tests/test_upkeep.py

.PHONY: demo test slow check docs other-python pictures notebooks benchmarks clean

demo: $(STAMP)
	$(BIN)/feyngd demo --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

slow: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

other-python: $(STAMP_OTHER)
	$(VENV_OTHER)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS_OTHER)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pictures: $(STAMP)
	$(BIN)/python docs/pictures.py

notebooks: $(STAMP)
	$(BIN)/python notebooks/run.py

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -d build/doctrees docs site

benchmarks: $(STAMP)
	$(BIN)/python -m pytest benchmarks --benchmark-columns=min,mean,rounds
	$(BIN)/python benchmarks/evaluation.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "feyngd needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[plotting,fast,tests,docs]'
	touch $(STAMP)

$(STAMP_OTHER): pyproject.toml constraints.txt
	$(PYTHON_OTHER) -m venv $(VENV_OTHER)
	$(VENV_OTHER)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[plotting,fast,tests]'
	touch $(STAMP_OTHER)

clean:
	rm -rf $(VENV) .venv-* $(OUT) build site

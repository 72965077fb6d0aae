# `make run` does the main job, `make test` checks everything; both set up .venv by themselves. `make help` lists more.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt
EXTRAS ?=
WITH := $(EXTRAS:%=-%)
SETTINGS := pyproject.toml constraints.txt

.PHONY: help run test format clean
.DELETE_ON_ERROR:

help:
	@echo "make run      set up .venv, then write text with the built-in formula (ARGS='voice.toml --prompt Hi' for yours)"
	@echo "make test     set up .venv with the tools, then check format, lint and types, and run the tests"
	@echo "make format   rewrite the code in the house format"
	@echo "make clean    remove .venv and the tools' caches; fetched models stay"
	@echo "EXTRAS=...    what to install beside, such as llamacpp (five minutes to build, once); with run and test"
	@echo "PYTHON=...    the Python (3.11 or newer) that .venv is made from; now $(PYTHON)"

run: .venv/.installed$(WITH)
	@$(BIN)/lmalgebra run $(ARGS)

test: .venv/.installed-dev$(WITH)
	@echo "== format"
	@$(BIN)/ruff format --check .
	@echo "== lint"
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== tests (the first run fetches a 93 MB model)"
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

format: .venv/.installed-dev$(WITH)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# pip appears in a new environment last, so its presence says that the environment is whole.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("lmalgebra needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(BIN)/pip || { echo "Making .venv (a few seconds) ..."; $(PYTHON) -m venv --clear .venv; }
	@touch $@

.venv/.installed$(WITH): $(SETTINGS) | .venv/.made
	@echo "Installing lmalgebra and what it needs into .venv (about 250 MB to download, one to three minutes, once) ..."
	@$(PIP) -e '.$(EXTRAS:%=[%])'
	@touch $@

.venv/.installed-dev$(WITH): $(SETTINGS) | .venv/.made
	@echo "Installing lmalgebra and the tools into .venv (about 450 MB to download, one to three minutes, once) ..."
	@$(PIP) -e '.[$(EXTRAS:%=%,)dev]'
	@touch $@ .venv/.installed$(WITH)

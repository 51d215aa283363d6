# Everything is a relative path: make cannot handle a path with a space in it, and this folder may have one.

PYTHON ?= python3
# What is passed on to the program: make up ARGUMENTS="--port 9000", make test ARGUMENTS="-k holds"
ARGUMENTS ?=

VENV := .venv
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check --no-input
INSTALL := PIP_USER=0 $(PIP) install --progress-bar off
COMPILE := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.PHONY: help venv up test crash-points simulate kills races webhooks lint format lock bench clean again

help: ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

venv: $(VENV)/.development ## Prepare the environment: .venv, with everything locked

up: $(VENV)/.runtime ## Start everything on this machine and move money
	@exec $(VENV)/bin/tallystick up $(ARGUMENTS)

test: $(VENV)/.development lint ## Check the code and run the tests
	@exec $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile $(ARGUMENTS)

crash-points: $(VENV)/.development ## Crash what crosses shards in every way at every point of it
	@TALLYSTICK_CRASH_POINTS=all exec $(VENV)/bin/python -m pytest -s tests/crash/test_saga_crash_points.py $(ARGUMENTS)

simulate: $(VENV)/.development ## Simulate many sagas, a hundred thousand times, and look at the books each time
	@exec $(VENV)/bin/python -m tests.simulation $(ARGUMENTS)

kills: $(VENV)/.development ## Kill servers and nodes under load, ten times each
	@TALLYSTICK_CRASHES=10 exec $(VENV)/bin/python -m pytest -s tests/crash/test_kill.py tests/crash/test_saga_kill.py $(ARGUMENTS)

races: $(VENV)/.development ## Race for the cache of balances: thousands of kills, a minute without Valkey under full load
	@TALLYSTICK_RACE_ROUNDS=5000 TALLYSTICK_RACE_SECONDS=60 TALLYSTICK_OUTAGE_SECONDS=60 exec $(VENV)/bin/python -m pytest -s \
		tests/cache/test_process_race.py tests/cache/test_race.py tests/cache/test_outage.py $(ARGUMENTS)

webhooks: $(VENV)/.development ## Deliver to a hundred endpoints for two minutes while a server is killed
	@TALLYSTICK_WEBHOOKS_SECONDS=120 exec $(VENV)/bin/python -m pytest -s tests/webhooks/test_many.py $(ARGUMENTS)

lint: $(VENV)/.development ## Check format, style, types and imports
	@$(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.development ## Format the code
	@$(VENV)/bin/ruff check --quiet --fix-only .
	@$(VENV)/bin/ruff format --quiet .

# Versions that are locked already stay: make lock ARGUMENTS=--upgrade takes the newest ones.
lock: $(VENV)/.development ## Lock the versions of what we depend on, with hashes
	@$(COMPILE) $(ARGUMENTS) -o requirements/dev.txt pyproject.toml requirements/dev.in
	@$(COMPILE) -c requirements/dev.txt -o requirements/runtime.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt -o requirements/build.txt requirements/build.in

bench: $(VENV)/.runtime ## Measure on this machine
	@exec $(VENV)/bin/tallystick bench $(ARGUMENTS)

# The data in .data are somebody's ledger: they stay.
clean: ## Remove the environment and the caches
	@rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment holds the path at which it was made: one that was moved or copied is made anew.
ifneq ("$(shell cat $(VENV)/.place 2>/dev/null)","$(CURDIR)")
$(VENV)/.place: again
endif
$(VENV)/.place:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Tallystick needs Python 3.11 or newer, and '$(PYTHON)' is" \
			"$$("$(PYTHON)" --version 2>/dev/null || echo 'missing'): make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@echo "Preparing $(VENV) ..." >&2
	@test ! -e $@ || rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made: install the venv module of '$(PYTHON)'" \
			"(on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@pwd -P > $@

$(VENV)/.runtime: $(VENV)/.place requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo "Installing what it needs to run ..." >&2
	@$(INSTALL) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# What development needs includes what running needs.
$(VENV)/.development: $(VENV)/.place requirements/dev.txt requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo "Installing what it needs to run and to be tested ..." >&2
	@$(INSTALL) --require-hashes -r requirements/dev.txt -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@

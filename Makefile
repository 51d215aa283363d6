# Everything is a relative path: make cannot handle a path with a space in it, and this folder may have one.

PYTHON ?= python3
# What is passed on to the program: make up ARGUMENTS="--port 9000", make test ARGUMENTS="-k holds"
ARGUMENTS ?=
# The Pythons that test-pythons tests with, instead of all that it finds: make test-pythons PYTHONS="python3.11 python3.13"
PYTHONS ?=

VENV := .venv
COMPILE := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q

MAKEFLAGS += --no-builtin-rules --no-print-directory

# Root works in the folder of an ordinary user as that user, who can then go on without root.
ifeq ($(shell id -u),0)
AS_OWNER := "$(PYTHON)" -I src/tallystick/cli/as_owner.py .
OWNER := $(shell $(AS_OWNER) 2>/dev/null)
endif
ifneq ($(OWNER),)
GOALS := $(or $(MAKECMDGOALS),help)
.PHONY: $(GOALS)
$(GOALS):
	@exec $(AS_OWNER) $(MAKE) $@
else

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv up cluster cluster-test check test test-whole test-pythons crash-points simulate kills chaos chaos-cluster races webhooks attack installed fresh lint audit format schema lock bench clean again

define install
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Tallystick needs Python 3.11 or newer, and '$(PYTHON)' is" \
		"$$("$(PYTHON)" --version 2>/dev/null || echo 'missing'): make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	exit 1; }; \
VENV=$(VENV) exec "$(PYTHON)" requirements/install.py $(1)
endef

help: ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

venv: $(VENV)/.development ## Prepare the environment: .venv, with everything locked

up: $(VENV)/.runtime ## Start everything on this machine and move money
	@exec $(VENV)/bin/tallystick up $(ARGUMENTS)

cluster: $(VENV)/.cluster ## Start a cluster on this machine that survives the loss of any part (takes etcd and haproxy)
	@exec $(VENV)/bin/tallystick cluster up $(ARGUMENTS)

check: $(VENV)/.development lint ## Check the code and run the tests that need no server, in less than a minute
	@exec $(VENV)/bin/python -m pytest --numprocesses 2 -q -m "not slow" tests/unit $(ARGUMENTS)

# Two processes: with three on two cores, a shard whose writer is stopped looked silent to a test of memory. The files of
# tests/unit, which are short, come last, so that both processes end at the same time.
test: $(VENV)/.development lint ## Check the code and run the tests
	@exec $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGUMENTS)

# What `test` does a part of, drawn anew each time, because one run in many finds what each of them could.
test-whole: $(VENV)/.development lint ## Do the same with nothing left out, which takes much longer
	@TALLYSTICK_WHOLE=1 exec $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGUMENTS)

test-pythons: ## Test with each Python from 3.11 on that is at hand
	@exec "$(PYTHON)" tests/pythons.py $(PYTHONS)

crash-points: $(VENV)/.development ## Crash what crosses shards in every way at every point of it
	@TALLYSTICK_CRASH_POINTS=all exec $(VENV)/bin/python -m pytest -s tests/crash/test_saga_crash_points.py $(ARGUMENTS)

simulate: $(VENV)/.development ## Compare decisions with the model, and simulate many sagas, a hundred thousand times
	@TALLYSTICK_EXAMPLES=20000 $(VENV)/bin/python -m pytest tests/unit/test_decide_against_model.py
	@exec $(VENV)/bin/python -m tests.simulation $(ARGUMENTS)

kills: $(VENV)/.development ## Kill servers and nodes under load, ten times each, and let them hang
	@TALLYSTICK_WHOLE=1 TALLYSTICK_CRASHES=10 TALLYSTICK_OPEN_SAGAS=10000 TALLYSTICK_HUNG_SECONDS=14 \
		exec $(VENV)/bin/python -m pytest -s tests/crash/test_kill.py tests/crash/test_saga_kill.py \
		tests/crash/test_saga_recovery_speed.py tests/crash/test_hung_node.py $(ARGUMENTS)

# make chaos SECONDS=600 SEED=7
chaos: $(VENV)/.development ## Load two shards, strike what serves them, and check the recorded history
	@exec $(VENV)/bin/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGUMENTS)

# make chaos-cluster SECONDS=3600 SEED=7
chaos-cluster: $(VENV)/.development ## Do the same to a whole cluster, its network and its disks (takes root, etcd and haproxy)
	@exec $(VENV)/bin/python -m tests.chaos --cluster $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGUMENTS)

races: $(VENV)/.development ## Race for the cache of balances: thousands of kills, a minute without Valkey under full load
	@TALLYSTICK_WHOLE=1 TALLYSTICK_RACE_ROUNDS=5000 TALLYSTICK_RACE_SECONDS=60 TALLYSTICK_OUTAGE_SECONDS=60 \
		exec $(VENV)/bin/python -m pytest -s tests/cache/test_process_race.py tests/cache/test_race.py tests/cache/test_outage.py $(ARGUMENTS)

webhooks: $(VENV)/.development ## Deliver to a hundred endpoints for two minutes while a server is killed
	@TALLYSTICK_WEBHOOKS_SECONDS=120 exec $(VENV)/bin/python -m pytest -s tests/webhooks/test_many.py $(ARGUMENTS)

attack: $(VENV)/.development ## Attack at length, and run every test that docs/security.md names
	@TALLYSTICK_WHOLE=1 TALLYSTICK_ATTACK_LENGTH=20 exec $(VENV)/bin/python -m pytest tests/attack \
		$$(grep -o 'tests/[a-z0-9_/]*\.py::[a-z0-9_]*' docs/security.md | grep -v '^tests/attack/' | sort -u) $(ARGUMENTS)

installed: $(VENV)/.development ## Install the wheel with extras and without, and use it (fetches packages)
	@exec $(VENV)/bin/python -m pytest tests/installed/check_extras.py $(ARGUMENTS)

fresh: $(VENV)/.development ## Begin anew on a bare system, as root and as a user, several times (takes root and debootstrap)
	@exec $(VENV)/bin/python -m tests.fresh $(ARGUMENTS)

cluster-test: $(VENV)/.development ## Switch the machines of a cluster off, one after the other, and lose no payment (takes etcd and haproxy)
	@exec $(VENV)/bin/python -m pytest -s tests/cluster/check_machines.py tests/cluster/check_network.py $(ARGUMENTS)

lint: $(VENV)/.development ## Check format, style, types and imports
	@$(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

audit: $(VENV)/.development ## Look for weak code and for vulnerable packages; without a network for the former
	@exec $(VENV)/bin/python requirements/audit.py $(ARGUMENTS)

format: $(VENV)/.development ## Format the code
	@$(VENV)/bin/ruff check --quiet --fix-only .
	@$(VENV)/bin/ruff format --quiet .

# Versions that are locked already stay: make lock ARGUMENTS=--upgrade takes the newest ones.
schema: $(VENV)/.development ## Write down what the migrations make, after one was added
	@exec $(VENV)/bin/python -m tests.made

lock: $(VENV)/.development ## Lock the versions of what we depend on, with hashes
	@$(COMPILE) $(ARGUMENTS) --extra bench --extra cluster -o requirements/dev.txt pyproject.toml requirements/dev.in
	@$(COMPILE) -c requirements/dev.txt --extra all -o requirements/runtime.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt --extra cluster -o requirements/cluster.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt --extra server --extra cache --extra telemetry -o requirements/server.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt --extra bench -o requirements/bench.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt -o requirements/build.txt requirements/build.in

bench: $(VENV)/.bench ## Measure on this machine
	@exec $(VENV)/bin/tallystick bench $(ARGUMENTS)

# The data in .data are somebody's ledger: they stay.
clean: ## Remove the environment and the caches
	@rm -rf $(VENV) .pythons dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment holds the path at which it was made: one that was moved or copied is made anew.
ifneq ("$(shell cat $(VENV)/.place 2>/dev/null)","$(CURDIR)")
$(VENV)/.runtime $(VENV)/.cluster $(VENV)/.bench $(VENV)/.development: again
endif
$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt pyproject.toml
	@$(call install,runtime)

$(VENV)/.cluster: requirements/cluster.txt requirements/runtime.txt requirements/build.txt pyproject.toml
	@$(call install,cluster)

# What measuring needs includes what running needs, and what development needs both.
$(VENV)/.bench: requirements/bench.txt requirements/runtime.txt requirements/build.txt pyproject.toml bench/pyproject.toml
	@$(call install,bench)

$(VENV)/.development: requirements/dev.txt requirements/bench.txt requirements/cluster.txt requirements/runtime.txt \
		requirements/build.txt pyproject.toml bench/pyproject.toml
	@$(call install,development)

endif

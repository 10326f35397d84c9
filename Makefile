# Each target does all the set-up it needs, on a machine that has only Python 3.11, pip and Debian or Ubuntu;
# done once, the set-up takes a moment. DOCKER_HOST chooses the engine, PYTHON the interpreter.
PYTHON ?= python3
# Set-up and tests load the same modules again and again; let Python keep them compiled.
unexport PYTHONDONTWRITEBYTECODE
.NOTPARALLEL:
.PHONY: up test test-full test-second-engine test-engines check soak fuzz bench setup environment engine base clients lock upgrade clean help

help: ## Print this.
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

up: setup ## Set up, then start the stack; the same as `hailbox up`.
	.venv/bin/hailbox up

test: setup clients ## Set up, then run every check and test, on a real engine.
	@.venv/bin/python scripts/checks.py test

test-full: setup clients ## The same with every crash point and fault in place of a sample, and on engine 26.1; writes docs/faults.md and docs/crash-sweep.md. About an hour.
	@.venv/bin/python scripts/checks.py full

test-second-engine: setup ## The tests of stacks and faults on a second engine, 26.1, in a container of the first; takes root.
	@.venv/bin/python scripts/checks.py second

ENGINES = second_engine newest_engine over_ssh registry podman rootless
test-engines: setup ## The verbs on every other engine that can be had here; writes the table in docs/engines.md. Takes root.
	HAILBOX_FULL=1 .venv/bin/python -m pytest -v $(ENGINES:%=tests/stack/test_%.py)

# MINUTES, SEED (default: drawn) and PROFILES choose what is soaked.
MINUTES ?= 60
soak: setup ## Kill, break and check random stacks under real clients for MINUTES; adds a row to docs/reliability.md.
	PYTHONPATH=tests .venv/bin/python -m soak.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(PROFILES),--profiles $(PROFILES))

check: environment ## Run what needs no engine: ruff, mypy, unit and wire tests.
	@.venv/bin/python scripts/checks.py check

# TARGETS and SECONDS (for each target) choose what is fuzzed.
SECONDS ?= 60
fuzz: environment ## Fuzz what parses bytes, a minute each; finds go to tests/fuzz/corpus.
	PYTHONPATH=tests .venv/bin/python -m fuzz.run --seconds $(SECONDS) $(TARGETS)

bench: setup ## Measure, and print the results.
	.venv/bin/python -m benchmarks

setup: environment engine base ## All three steps of the set-up.

environment: ## Make .venv with the locked dependencies.
	@$(PYTHON) scripts/environment.py

engine: ## Have a Docker engine that answers; as root on Debian or Ubuntu, install and start one.
	@$(PYTHON) scripts/engine.py

base: environment engine ## Have the base image: the engine's, a registry's, or bootstrapped from Debian's packages.
	@.venv/bin/python scripts/base.py

clients: environment ## Have the S3 clients that tests drive; as root on Debian or Ubuntu, install those that are missing.
	@.venv/bin/python scripts/clients.py

lock: environment ## Write the lock files, with the versions they have where these still fit.
	@.venv/bin/python scripts/lock.py

upgrade: environment ## Write the lock files with the newest versions.
	@.venv/bin/python scripts/lock.py --upgrade

clean: ## Remove .venv and everything that tools leave in the checkout.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis artefacts dist

# Each target does its own set-up first; where all is in place that takes no time.
.DEFAULT_GOAL := help
.PHONY: help setup demo test e2e faults browser monitoring matrix haproxy serf soak fresh lint bench logs lock clean
MAKEFLAGS += --no-builtin-rules --no-print-directory
# haproxy lies in sbin, which is not in every user's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

PYTHON_SOURCES := daemon webapp compose requirements tests

# Runs a program that a person ends with Ctrl-C: it cleans up in its own time, and make adds no error of its own to that.
# When make itself is ended, the program is told to end too.
attended = @trap 'interrupted=yes' INT; setpriv --pdeathsig TERM $(1) || { code=$$?; [ "$$interrupted" ] || exit $$code; }

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## Install what is missing for demo and tests: Debian packages, and Python packages in .venv
	@compose/setup test

demo: ## Run a cluster and change it under load (DEMO=local, DEMO_STAY=1, DEMO_REPORT=FILE)
	@compose/setup demo
	$(call attended,.venv/bin/python -m compose demo)

test: ## Run all tests (T="tests/unit -k roster" for some, with pytest's own options)
	@compose/setup test
	@.venv/bin/python -m pytest -n 4 --dist loadfile $(T)

e2e: ## Test the cluster in containers (E="-k logs" for some); installs and starts an engine where none answers
	@compose/setup e2e
	@.venv/bin/python -m pytest tests/e2e $(E)

faults: ## Break everything around a balancer, and fuzz what it reads (F="-k disk" for some); some parts need root
	@compose/setup faults
	@.venv/bin/python -m pytest tests/faults tests/fuzz -n 4 $(F)

monitoring: ## Hold metrics, alert rules and dashboard against what answers, with promtool; installs Debian's prometheus
	@compose/setup monitoring
	@.venv/bin/python -m pytest tests/monitoring $(M)

matrix: ## Run suites and demo on each HAProxy from 2.6 to 3.4 (VERSIONS="2.6 3.4", SUITES="contract demo", MATRIX_REPORT=FILE)
	@compose/setup matrix
	$(call attended,.venv/bin/python -m tests.matrix)

haproxy: ## Bring one HAProxy into .programs and print its path (VERSION=2.6, 2.8, 3.0, 3.2 or 3.4)
	@compose/setup matrix
	@.venv/bin/python -m tests.matrix.fetch haproxy $(VERSION)

serf: ## Bring one Serf into .programs and print its path (VERSION=0.9.4 or 0.10.1)
	@compose/setup matrix
	@.venv/bin/python -m tests.matrix.fetch serf $(VERSION)

soak: ## Break things at random under load (MINUTES=n, SOAK_SEED=n, FAULTS=..., SOAK_REPORT=FILE); some parts need root
	@compose/setup bench
	$(call attended,.venv/bin/python -m tests.soak)

fresh: ## Run demo and tests in bare Debian 12, 13, testing (DISTROS="13 testing", SUITES=demo, AS=root, JOBS=n); needs root
	@compose/setup fresh
	@.venv/bin/python -m tests.fresh

browser: ## Look at the page with a real browser, without a screen (B="-k phone" for some); installs chromium
	@compose/setup browser
	@.venv/bin/python -m pytest tests/page $(B)

lint: ## Check style, format and types
	@compose/setup test
	@.venv/bin/ruff check $(PYTHON_SOURCES)
	@.venv/bin/ruff format --check $(PYTHON_SOURCES)
	@.venv/bin/mypy $(PYTHON_SOURCES)

bench: ## Compare rosterd with other ways, side by side (SCENARIO=..., CONTENDER=..., BENCH_REPORT=FILE, BENCH_QUICK=1)
	@compose/setup bench
	$(call attended,.venv/bin/python -m tests.bench)

logs: ## Follow the logs of a cluster, all nodes together (CLUSTER or PROJECT=..., NODE=..., EVENT=...)
	@compose/setup demo
	$(call attended,.venv/bin/python -m compose logs)

lock: ## Solve requirements/*.lock again from setup.cfg (UPGRADE=1 for the newest versions)
	@compose/setup test
	@.venv/bin/python requirements/lock.py $(if $(UPGRADE),--upgrade)

clean: ## Remove what was made here, but .venv: the demo's nodes and run directories, caches, build products
	@[ ! -x .venv/bin/python ] || { [ ! -d .run ] && [ ! -e .venv/.ready-demo ]; } || .venv/bin/python -m compose down --all
	@rm -rf .run .fresh .programs build dist daemon/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find daemon webapp compose requirements tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@[ ! -d .venv ] || echo '.venv is kept; remove it with: rm -rf .venv'

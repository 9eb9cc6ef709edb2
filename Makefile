# One front door. `make` alone lists the targets.
SHELL := /bin/bash
PY := .venv/bin/python
TESTS ?= tests
WORKERS ?= 3
ARGS ?=

.PHONY: help setup dev demo check test soak bench proto pin format down

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what Covey needs: Debian programs, and Python packages in .venv
	@scripts/setup

dev: ## Install what checks, tests and benchmarks need besides
	@scripts/setup --dev

demo: setup ## Run the main job on a lab of 3 managers and 2 workers, and tear it down
	@$(PY) -m node.lab.demo

check: dev ## Lint, types, import contracts, generated code
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	scripts/protoc --check

test: dev ## Run every test (root; TESTS=tests/unit to choose, ARGS for pytest, WORKERS=0 for one process)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

soak: dev ## Prove the managers for as long as wanted and write docs/soak.md (ARGS="--minutes 60")
	PYTHONPATH=.:proto $(PY) -m tests.soak $(ARGS)

bench: dev ## Measure the figures of the README
	$(PY) -m tests.bench $(ARGS)

proto: dev ## Generate code from proto/
	scripts/protoc

pin: dev ## Write the pinned requirements anew
	scripts/pin

format: dev ## Format and mend what can be mended by machine
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

down: ## Remove every lab on this machine
	@$(PY) -m node.lab down --all

# What a newcomer and CI call; each target is a script of scripts/, or little more.
#
# ARGS goes to the command behind a target:   make run ARGS="--port 9000"   make test ARGS="-k bucket -x"
# PYTHON is the interpreter that .venv is made with:   make test PYTHON=python3.13

PYTHON ?= python3
export PYTHON

ROUNDS ?= 500
CASES ?= 10000000

.PHONY: help run test check bench bench-peers bench-distributor bench-ping torture fuzz docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# exec: the server takes the place of the shell, so the SIGTERM that make passes on reaches it.
run: ## Serve the logs distributor and its page, until Ctrl-C
	@scripts/setup run
	@exec .venv/bin/penstock distribute $(ARGS)

test: ## Test everything: code, documentation, examples
	@scripts/test $(ARGS)

check: ## Check format, lint, types, imports, C kernels
	@scripts/check $(ARGS)

bench: ## Measure both twins of every hot path, quickly
	@scripts/bench quick $(ARGS)

bench-peers: ## Compare the hot paths with other packages
	@scripts/bench peers $(ARGS)

bench-distributor: ## Load the distributor and print what it carries
	@scripts/bench distributor $(ARGS)

bench-ping: ## Hold the pinger against Go, wrk, hey and the truth
	@scripts/bench ping $(ARGS)

torture: ## Torment the distributor for ROUNDS rounds and count what is lost
	@scripts/torture --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: ## Feed CASES broken inputs to every parser of the distributor
	@scripts/fuzz-parsers --cases $(CASES) $(if $(SEED),--seed $(SEED)) $(ARGS)

docs: ## Build the documentation, docs/_build/html
	@scripts/docs $(ARGS)

clean: ## Remove all that was built, .venv too
	rm -rf .venv .asv .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf build dist docs/_build src/penstock.egg-info
	find src -name '*.so' -delete -o -name '_*_c.c' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything a newcomer needs is "make demo" and "make test"; both set up what they need.
# The work is in scripts/, one script a job; this file only names the jobs.

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint build bench clean distclean

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Set up everything for demo and test: .venv, node_modules, static/dist, test tools
	@sh scripts/setup test

demo: ## Set up, run the voting app and open its page (BROWSER=none only prints the addresses)
	@sh scripts/setup app
	@exec .venv/bin/ftweb run examples/voting $(if $(filter none,$(BROWSER)),--no-browser) $(ARGS)

test: ## Set up and run every check (ARGS="…" goes to pytest)
	@sh scripts/setup test
	@sh scripts/test $(ARGS)

lint: ## Only ruff, mypy, tsc, oxlint, prettier
	@sh scripts/setup test
	@sh scripts/lint

build: ## A self-contained wheel in dist/
	@sh scripts/setup app
	@rm -rf dist
	@.venv/bin/python -m hatchling build -t wheel -d dist
	@ls -l dist

bench: ## All benchmarks; each prints JSON (see docs/evaluation.md)
	@sh scripts/setup test
	@sh scripts/bench

clean: ## Remove what was built; keeps .venv and node_modules
	rm -rf static/dist build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	find . -name __pycache__ -not -path './.venv/*' -not -path './node_modules/*' -prune -exec rm -rf {} +

distclean: clean ## Remove everything that git does not keep
	rm -rf .venv node_modules .ftweb

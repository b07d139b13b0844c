# make help lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jupyterhub-home-tests
TEST_VENV := $(CACHE)/venv-$(shell sha256sum requirements/test.txt | cut -c1-12)
# Ansible's own options, such as: make hub ARGS="--check --diff"
ARGS ?=

help: ## List the targets
	@sed -nE 's/^([a-z][a-z%-]*):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

hub: venv ## Make this machine match the variables (ARGS="--check --diff" only shows what would change)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python3 scripts/hub.py converge $(ARGS)

uninstall: venv ## Remove the hub and keep everybody's files
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python3 scripts/hub.py uninstall $(ARGS)

vault: venv ## Edit users and passwords (encrypted)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python3 scripts/hub.py vault

password: ## Turn a typed password into a hash line for the vault
	@python3 scripts/hub.py password

venv: ## Set up Ansible in .venv, from a lock with hashes
	@scripts/venv $(VENV) requirements/ansible.txt

test: ## Run every test (installs what it needs, a Docker engine included)
	@tests/run.sh lint unit input debian12 interrupted quickstart -- default convergence faults imagestore

test-fast: ## Lint and unit tests
	@tests/run.sh lint unit

test-%: ## One stage alone: test-lint, test-unit, test-input, test-default, test-debian12, test-convergence, test-interrupted, test-quickstart, test-faults, test-imagestore
	@tests/run.sh $*

bench: ## Measure against floors, as ratios in one run
	@tests/run.sh bench

docs: test-venv ## Write the README's table of variables anew
	@"$(TEST_VENV)/bin/python" scripts/variables.py --write

lock: test-venv ## Raise every pinned version
	@UV="$(TEST_VENV)/bin/uv" requirements/lock.sh --upgrade

test-venv:
	@scripts/venv "$(TEST_VENV)" requirements/test.txt

test-venv-path:
	@echo "$(TEST_VENV)"

clean: ## Remove Ansible's environment and the tests' cache (never the hub, its data or the vault)
	rm -rf $(VENV) "$(CACHE)"

.PHONY: help hub uninstall vault password venv test test-fast bench docs lock test-venv test-venv-path clean

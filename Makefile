# make help lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jupyterhub-home-tests
TEST_VENV := $(CACHE)/venv-$(shell sha256sum requirements/test.txt | cut -c1-12)
NPM_LOCK := roles/jupyterhub_home/files/images/proxy/requirements.txt
# Ansible's own options, such as: make hub ARGS="--check --diff". As they are: scripts/hub.py splits them.
ARGS ?=
override export ARGS := $(value ARGS)
# Of make upgrade: pins or packages, for one of both.
ONLY ?=
export ONLY

# Ansible wants a locale of UTF-8 that is there; cron has none, nor have minimal systems.
ifneq ($(shell locale charmap 2>/dev/null),UTF-8)
override export LC_ALL := C.UTF-8
endif

# What make takes for its own, and was meant for Ansible, must not become a real run.
JOBS := hub check renew upgrade backup backups restore status homes uninstall
job := $(firstword $(filter $(JOBS),$(MAKECMDGOALS)))
ifneq ($(job),)
# Its flags without an argument are letters in one word; --check is to it a short form of --check-symlink-times, L.
flags := $(filter-out --%,$(firstword -$(MAKEFLAGS)))
meant = $(if $(findstring $1,$(flags)),$(error $2. Nothing was done))
others := $(filter-out $(job) vault venv,$(MAKECMDGOALS))
named := $(strip $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name))))
# What a job takes beside ARGS. A USER of the environment is whoever types.
TAKES_restore := USER FILE SNAPSHOT
TAKES_upgrade := ONLY
TAKES := $(TAKES_$(job))
$(foreach name,$(filter $(TAKES),$(named)),$(if $(strip $(value $(name))),,$(error $(name) is empty. Write a value, or leave $(name)= out. Nothing was done)))
$(foreach name,$(TAKES_restore),$(eval override export RESTORE_$(name) := $$(if $$(filter $(name),$$(filter $$(TAKES),$$(named))),$$(value $(name)))))
unknown := $(filter-out $(TAKES) ARGS LC_ALL VENV CACHE TEST_VENV SHELL MAKEFLAGS MAKEOVERRIDES -*-command-variables-*-,$(named))
$(call meant,L,make takes --check for a flag of its own. Write: $(if $(filter-out hub check,$(job)),make $(job) ARGS=--check,make check))
$(call meant,t,make takes -t for a flag of its own. Write: make $(job) ARGS="-t $(or $(firstword $(others)),users)")
$(call meant,k,make takes -k for a flag of its own. Write: make $(job) ARGS=-k)
$(call meant,i,make takes -i for a flag of its own. Write: make $(job) ARGS="-i $(or $(firstword $(others)),inventory/home)")
$(call meant,e,make takes -e for a flag of its own. Write: make $(job) ARGS="-e NAME=VALUE")
ifneq ($(others),)
other := $(firstword $(others))
tag := make $(job) ARGS="--tags $(other)", or if it is an option make $(job) ARGS="--$(other)"
instead := $(if $(filter $(JOBS),$(other)),make $(other),$(if $(filter restore,$(job)),make restore USER=$(other),$(if $(filter hub check renew,$(job)),$(tag),make $(job))))
$(error make $(job) goes with no other goal than vault, not with $(other). Write: $(instead). Nothing was done)
endif
ifneq ($(unknown),)
variable := $(firstword $(unknown))
lower := $(shell printf %s '$(variable)' | tr A-Z a-z)
upper := $(shell printf %s '$(variable)' | tr a-z A-Z)
taker := $(firstword $(foreach one,$(job) restore upgrade,$(if $(filter $(upper),$(TAKES_$(one))),$(one))))
own := $(shell grep -om1 'jupyterhub_home_$(lower)\b' docs/variables.md)
option := $(if $(filter args arg,$(lower)),,$(if $(own),-e $(own)=,--$(lower) ))
instead := $(if $(taker),make $(taker) $(upper)=$(value $(variable)),$(if $(TAKES),make $(job) $(foreach one,$(TAKES),$(one)=...),make $(job) ARGS="$(option)$(value $(variable))"))
$(error make $(job) has no variable $(variable). Write: $(instead). Nothing was done)
endif
endif

# A target that there is not.
.DEFAULT:
	@echo "make has no target $@. make help lists what it has. Nothing was done." >&2; exit 2

help: ## List the targets
	@sed -nE 's/^([a-z][a-z%-]*):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

# Where there is no Python yet, the environment brings it.
HUB := command -v python3 >/dev/null || sh scripts/venv $(VENV) requirements/ansible.txt; python3 scripts/hub.py

hub: ## Make this machine match the variables
	@$(HUB) converge

check: ## Only show what make hub would change
	@$(HUB) check

renew: ## As make hub, with all images made anew from today's packages of Debian
	@$(HUB) renew

upgrade: ## Take the newest version of this project, and do what make renew does (ONLY=pins or ONLY=packages for one of both)
	@$(HUB) upgrade

backup: ## Save the hub and everybody's files, encrypted, while they work
	@$(HUB) backup

backups: ## List what was saved
	@$(HUB) backups

restore: ## Put back what was saved: everything, or USER=alice, with FILE=work/x or without; SNAPSHOT=..., or the newest
	@$(HUB) restore

status: ## Say in a few lines how the hub is
	@$(HUB) status

homes: ## List everybody's files: whose, how large, when last changed, and whose users are gone
	@$(HUB) homes

uninstall: ## Remove the hub and keep everybody's files
	@$(HUB) uninstall

vault: ## Edit users and passwords (encrypted)
	@$(HUB) vault

password: ## Turn a typed password into a hash line for the vault
	@python3 scripts/hub.py password

venv: ## Set up Ansible in .venv, from a lock with hashes
	@sh scripts/venv $(VENV) requirements/ansible.txt

test: ## Run every test but those of test-long (installs what it needs, a Docker engine included)
	@tests/run.sh lint unit input debian12 quickstart security default -- convergence faults

test-long: ## Run what make test has no time for: killed runs, backups at length, Debian testing (which may warn) and its engine
	@tests/run.sh interrupted backup -- containerd forky

test-fast: ## Lint and unit tests
	@tests/run.sh lint unit

test-%: ## One stage alone: test-lint, test-unit, test-input, test-default, test-debian12, test-convergence, test-interrupted, test-quickstart, test-faults, test-backup, test-containerd, test-security, test-forky (which may warn)
	@tests/run.sh $*

bench: ## Measure against floors, as ratios in one run
	@tests/run.sh bench

fuzz: ## Ten minutes of requests at the guard, led by coverage
	@sh scripts/venv "$(CACHE)/venv-fuzz" requirements/fuzz.txt
	@"$(CACHE)/venv-fuzz/bin/python" tests/fuzz/fuzz_guard.py -max_total_time=600

docs: test-venv ## Write the defaults and the table of variables anew, from the argument specs
	@"$(TEST_VENV)/bin/python" scripts/variables.py --write

lock: test-venv ## Raise every pinned version
	@UV="$(TEST_VENV)/bin/uv" requirements/lock.sh --upgrade

outdated: supply-outdated ## List what has newer releases than the locks
audit: supply-audit ## Check the locks against known vulnerabilities (fails where that cannot be learned)

supply-%:
	@sh scripts/venv "$(CACHE)/audit" requirements/audit.txt
	@sh scripts/venv "$(CACHE)/npm" $(NPM_LOCK)
	@NPM="$(CACHE)/npm" "$(CACHE)/audit/bin/python" scripts/supply.py $*

test-venv:
	@sh scripts/venv "$(TEST_VENV)" requirements/test.txt

test-venv-path:
	@echo "$(TEST_VENV)"

clean: ## Remove Ansible's environment and the tests' cache (never the hub, its data or the vault)
	rm -rf $(VENV) "$(CACHE)"

.PHONY: help hub check renew upgrade backup backups restore status homes uninstall vault password venv test test-fast bench fuzz docs lock outdated audit test-venv test-venv-path clean

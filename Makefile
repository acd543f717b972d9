# Second Key. `make` alone lists the verbs. Needs python3 (3.11 or newer), make and a package index.
#   PYTHON=python3.12   which interpreter makes .venv
#   SETUP=1             install missing system packages through apt-get (CI=true does so too)
#   ARGS="…"            more arguments for demo, test, bench and docs
# `git clean -fdX` removes .venv, caches and whatever else is not kept, the data folder too.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-phoenix check bench docs audit lock

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

# $(call system,package:command:lost_without_it …): each package whose command is missing is installed, or its line printed.
# A package may bring others along (chromium+fonts-liberation). Underscores in the third field stand for spaces.
# With CI=true or SETUP=1 a package that cannot be had is a failure.
define system
missing=() ; lost=() ; \
for need in $(1); do IFS=: read -r package command loss <<<"$$need"; \
  if ! command -v "$$command" >/dev/null; then missing+=($${package//+/ }); lost+=("  $${package%%+*}: $${loss//_/ }"); fi; done; \
if [ $${#missing[@]} -gt 0 ]; then \
  root=""; [ "$$(id -u)" = 0 ] || root="sudo "; \
  if [ "$${CI:-}" = true ] || [ "$${SETUP:-}" = 1 ]; then \
    export DEBIAN_FRONTEND=noninteractive; \
    $${root}apt-get update -q && $${root}apt-get install -q -y --no-install-recommends "$${missing[@]}" \
      || { printf 'Could not install: %s\n' "$${missing[*]}" >&2; exit 1; }; \
  else \
    printf 'Missing on this machine, and what is skipped without it:\n' >&2; printf '%s\n' "$${lost[@]}" >&2; \
    printf 'To have it, type:  %sapt-get install %s   (or run make with SETUP=1)\n' "$$root" "$${missing[*]}" >&2; \
  fi; \
fi
endef

help: ## list the verbs
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile

demo: .venv/.runtime ## a Slack workspace, the bot and an agent on this machine: prints one link
	@$(call system,bubblewrap:bwrap:run_python_and_every_other_tool_that_runs_code git:git:the_list_of_files_a_project_keeps)
	@$(BIN)/secondkey demo $(ARGS)

test: .venv/.dev ## every test: unit, contract, scenario, acceptance
	@$(call system,bubblewrap:bwrap:tests_that_run_code_in_the_sandbox chromium+fonts-liberation:chromium:tests_that_click_in_a_browser git:git:tests_on_a_repository postgresql:pg_ctlcluster:tests_on_a_PostgreSQL_server prometheus:promtool:tests_of_alerts_and_the_dashboard)
ifneq ($(ARGS),)
	@$(BIN)/python -m pytest $(ARGS)
else # most of them wait for something, so there are more workers than cores
	@$(BIN)/python -m pytest -n 5 --dist worksteal tests
endif

test-phoenix: .venv/.dev ## see a run in Phoenix, a backend for traces (600 MB, installed apart the first time)
	@$(BIN)/python -m pytest tests/phoenix/phoenix_shows_a_run.py $(ARGS)

check: .venv/.dev ## lint, format, types, import contracts, secrets, manifest and repository tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/unit/test_manifest.py tests/unit/test_repository.py tests/unit/test_secret_scan.py

bench: .venv/.dev ## run every benchmark and write bench/RESULTS.md
	@$(BIN)/python -m bench $(ARGS)

docs: .venv/.dev ## write the documentation into site/; with ARGS=gallery draw every card, window and page anew
ifeq ($(firstword $(ARGS)),gallery)
	@$(call system,chromium+fonts-liberation+fonts-noto-color-emoji:chromium:every_picture)
	@$(BIN)/python -m docs.gallery $(wordlist 2,99,$(ARGS))
else
	@$(BIN)/python -m docs.reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
endif

audit: .venv/.dev ## ask the public databases about the locked dependencies (needs the network)
	@$(BIN)/python .ci/audit.py requirements-dev.lock

lock: .venv/.dev ## pin the dependencies of pyproject.toml anew
	@$(COMPILE) --upgrade pyproject.toml --group build --output-file requirements.lock
	@$(COMPILE) --upgrade pyproject.toml --group dev --extra mcp --extra postgres --constraint requirements.lock --output-file requirements-dev.lock

# Stamps: nothing below runs twice for the same lock file.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo 'Second Key needs Python 3.11 or newer, and "$(PYTHON)" is $(or $(shell $(PYTHON) --version 2>/dev/null),not installed). Name another one: make PYTHON=python3.12' >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(call system,python3-venv:python3-venv:everything); fi
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'No .venv can be made without python3-venv.' >&2; exit 1; }
	@echo 'Making .venv (once; a minute or two) …'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.runtime: .venv/.made requirements.lock pyproject.toml
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

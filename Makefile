# Every target makes the environment it needs first; the second run finds it made.
# `make help` lists the targets from their `##` comments.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
JOBS   ?= auto

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
# command:packages that the whole suite wants
SYSTEM := bwrap:bubblewrap mosquitto:mosquitto node:nodejs npm:npm cc:gcc,libc6-dev chromium:chromium

.PHONY: demo test lint bench faults engines kernel hosts clean help system-packages
.DEFAULT_GOAL := help

demo: $(RUN_STAMP) ## three agents here: sensor readings to results, and pi (KEEP=1 leaves it running)
	$(BIN)/edgectl demo $(if $(KEEP),--keep) $(ARGS)

test: $(DEV_STAMP) system-packages prometheus ## the whole suite, a file on each core (ARGS="-k name" for a part of it, JOBS=0: in one process)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(DEV_STAMP) ## ruff, mypy strict, codespell, yamllint, ansible-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" ANSIBLE_ROLES_PATH=ansible/roles ansible-lint

bench: $(RUN_STAMP) ## a node's figures as ratios, a table and JSON (ARGS="NAME..." for some)
	$(BIN)/python -m controller.bench $(ARGS)

faults: $(DEV_STAMP) system-packages ## 10,000 messages while node, broker and disk break; a table (minutes)
	EW_FAULTS=full $(BIN)/python -m pytest tests/faults $(ARGS)

engines: SYSTEM := dockerd:docker.io podman:podman runc:runc bwrap:bubblewrap
engines: $(DEV_STAMP) system-packages ## the container driver with real Docker and Podman (root on Debian)
	$(BIN)/python -m pytest -m engines tests/edge_agent/sandbox $(ARGS)

kernel: SYSTEM := qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio bwrap:bubblewrap
kernel: $(DEV_STAMP) system-packages ## control groups of version 2 in a virtual machine (root on Debian)
	$(BIN)/python -m pytest -m kernel tests/kernel $(ARGS)

hosts: SYSTEM := debootstrap:debootstrap systemd-nspawn:systemd-container \
  ssh-keygen:openssh-client ip:iproute2 mkfs.ext4:e2fsprogs bwrap:bubblewrap
hosts: $(DEV_STAMP) system-packages ## deploy to real systemd machines (root on Debian; takes minutes)
	$(BIN)/python -m pytest -m hosts tests/hosts $(ARGS)

clean: ## remove the environment, caches and build results
	rm -rf $(VENV) build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# As root on Debian: installs what is missing. Otherwise the tests that need it are
# skipped and listed at the end of the run.
system-packages:
	@missing=; for pair in $(SYSTEM); do \
	  PATH="$$PATH:/usr/sbin" command -v "$${pair%%:*}" >/dev/null || missing="$$missing,$${pair##*:}"; \
	done; missing=$$(echo "$$missing" | tr , ' '); \
	[ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0; \
	echo "installing$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing >/dev/null

# Debian's Prometheus for the tests, unpacked and not installed: no service starts.
.PHONY: prometheus
prometheus: $(DEV_STAMP)
	@command -v prometheus >/dev/null || [ -x $(BIN)/prometheus ] || \
	  ! command -v apt-get >/dev/null || { mkdir -p $(VENV)/debian && cd $(VENV)/debian && \
	  apt-get -qq download prometheus 2>/dev/null && dpkg -x prometheus_*.deb . && rm -f *.deb && \
	  ln -sf ../debian/usr/bin/prometheus ../debian/usr/bin/promtool ../bin/; } || \
	  echo "Prometheus cannot be had: its tests are skipped"

# --- the environment ----------------------------------------------------------------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "error: $(PYTHON) is missing: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V):" \
	    "Debian 12 has it (sudo apt-get install python3 python3-venv), or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "error: the venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# amqtt is the broker of the demo where mosquitto is not installed; gpiozero has the
# mock pins of `make demo ARGS=--gpio`.
$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the demo needs into $(VENV)"
	@$(PIP) install --use-pep517 -c constraints.txt -e '.[agent,controller,loadtests]' \
	  gpiozero $$(PATH="$$PATH:/usr/sbin" command -v mosquitto >/dev/null || echo amqtt)
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) install --use-pep517 -c constraints.txt -e '.[dev]'
	@touch $@ $(RUN_STAMP)

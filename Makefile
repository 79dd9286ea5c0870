# SPDX-License-Identifier: GPL-2.0-or-later
#
# Delegates: setup/ installs, mk/lint.mk checks, the lab (lab/pageproof_lab) builds for kernels and
# boots them. Only the page-table engine (c-helper/Makefile) is built with the host's compiler.
#
#   make demo KERNEL=6.12             one of the lab's kernels
#   make test PYTEST_ARGS='-k mmap'   what pytest takes
#   V=1                               shows the commands

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
export V

# In CI a warning is an error. Elsewhere it is not: another compiler has new ones.
ifeq ($(CI),true)
WERROR ?= 1
export WERROR
endif

VENV := build/venv/bin
PYTEST := $(VENV)/python -m pytest
WORKERS := --numprocesses auto --maxprocesses 4 --dist loadscope
PAGEPROOF := build/bin/pageproof
KERNEL_ARG := $(if $(KERNEL),--kernel $(KERNEL))
DIST ?= bookworm
LOAD_SECONDS ?= 600
DAMAGE_RUNS ?= 2000

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-all test-bugs test-load test-damage test-unit build engine module helper fuzz bench format pins acceptance clean

help: ## show this help
	@echo "pageproof: make TARGET [KERNEL=5.10|6.1|6.12|7.2] [V=1]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (every other target does so too); build/bin/pageproof
	$(Q)setup/setup.sh base

demo: setup engine ## the proof on a real kernel: over QMP, inside the guest, and from its vmcore
	$(Q)$(PAGEPROOF) lab demo $(KERNEL_ARG)

test: setup engine ## the tests, on all kernels (PYTEST_ARGS='-k x')
	$(Q)$(PYTEST) $(WORKERS) $(PYTEST_ARGS)

test-all: setup engine ## and what takes long: stress on all kernels, the whole bug lab
	$(Q)$(PYTEST) $(WORKERS) -m "long or not long" $(PYTEST_ARGS)

test-bugs: setup engine ## all of the bug lab: each bug, on all kernels and targets (docs/bugs.md)
	$(Q)$(PYTEST) $(WORKERS) -m "long or not long" \
		tests/live/bugs tests/live/test_audit.py tests/vmcore/test_bugs.py tests/vmcore/test_audit.py $(PYTEST_ARGS)

test-load: setup engine ## verify and audit of sound guests, busy or with NUMA, for LOAD_SECONDS=600 each
	$(Q)PAGEPROOF_LOAD_SECONDS=$(LOAD_SECONDS) $(PYTEST) $(WORKERS) \
		-m "long or not long" -rA tests/live/test_load.py tests/live/test_soundness.py $(PYTEST_ARGS)

test-damage: setup engine ## commands on damaged vmcores, DAMAGE_RUNS=2000 of them (tests/dumpdamage.py)
	$(Q)PAGEPROOF_DAMAGE_RUNS=$(DAMAGE_RUNS) $(PYTEST) $(WORKERS) \
		-m "long or not long" tests/vmcore/test_vmcore_damaged.py $(PYTEST_ARGS)

test-unit: setup engine ## the tests that need no kernel
	$(Q)$(PYTEST) $(wildcard tests/unit tests/golden tests/setup) $(PYTEST_ARGS)

build: engine module ## everything that is compiled

engine: setup ## the page-table engine for Python; without it pageproof walks in Python, slowly
	$(Q)$(MAKE) --no-print-directory -C c-helper python

module: setup ## umh_shm.ko with its helper inside, for each kernel or KERNEL
	$(Q)$(PAGEPROOF) lab build $(KERNEL_ARG)

helper: module ## the same: the helper is a part of the module

fuzz: ## the engine's fuzz target, for a short while (FUZZ_RUNS=10000000 for long)
	$(Q)setup/setup.sh base fuzz
	$(Q)$(MAKE) --no-print-directory -C c-helper fuzz

bench: setup engine ## measure, on KERNEL or the demo's
	$(Q)$(PAGEPROOF) lab bench $(KERNEL_ARG)

format: setup ## format the Python code
	$(Q)$(VENV)/ruff check --quiet --fix-only --select I .
	$(Q)$(VENV)/ruff format .

pins: ## take the newest versions of the Python requirements (for maintainers)
	$(Q)setup/pin.sh

acceptance: ## make demo and make test on a fresh Debian, then offline (root; DIST=bookworm|trixie)
	$(Q)setup/fresh-chroot.sh $(DIST) demo test

clean: ## remove what was built in the clone; the cache outside it stays
	$(Q)rm -rf build pageproof.egg-info
	$(Q)git clean -fdXq -- $(wildcard module c-helper)
	$(Q)find . -name __pycache__ -prune -exec rm -rf {} +

include mk/lint.mk
include mk/mutants.mk

# SPDX-License-Identifier: GPL-2.0-or-later
#
# setup/ installs, mk/lint.mk checks, the lab (lab/pageproof_lab) builds for the kernels and boots
# them. Only the page-table engine (c-helper/Makefile) is built with the host's compiler.
#
#   make demo KERNEL=6.12             use one of the lab's kernels (V=1 shows the commands)
#   make test PYTEST_ARGS='-k mmap'   pass arguments to pytest

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
export V

# Warnings are errors in CI only: another compiler may have new ones.
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

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-all test-bugs test-load test-hostile test-kdump test-unit build engine module helper bench format pins acceptance clean

help: ## show this help
	@echo "pageproof: make TARGET [KERNEL=5.10|6.1|6.12|7.2] [V=1]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install missing requirements and create build/bin/pageproof (other targets do this first)
	$(Q)setup/setup.sh base

demo: setup engine ## run the proof on a real kernel: over QMP, inside the guest, and from its vmcore
	$(Q)$(PAGEPROOF) lab demo $(KERNEL_ARG)

test: setup engine ## run the tests on all kernels (PYTEST_ARGS='-k x')
	$(Q)$(PYTEST) $(WORKERS) $(PYTEST_ARGS)

test-all: setup engine ## run all tests, also the long ones: stress on all kernels, the whole bug lab
	$(Q)$(PYTEST) $(WORKERS) -m "long or not long" $(PYTEST_ARGS)

test-bugs: setup engine ## run the whole bug lab: each bug on all kernels and targets (docs/bugs.md)
	$(Q)$(PYTEST) $(WORKERS) -m "long or not long" \
		tests/live/bugs tests/live/test_audit.py tests/vmcore/test_bugs.py tests/vmcore/test_audit.py $(PYTEST_ARGS)

test-load: setup engine ## run verify and audit on sound guests, busy, crowded or with NUMA, for LOAD_SECONDS=600
	$(Q)PAGEPROOF_LOAD_SECONDS=$(LOAD_SECONDS) $(PYTEST) $(WORKERS) \
		-m "long or not long" -rA tests/live/test_load.py tests/live/test_soundness.py tests/live/test_crowd.py \
		$(PYTEST_ARGS)

test-hostile: setup engine ## run all 10,000 cases of damaged and hostile input (docs/hostile.md)
	$(Q)$(PYTEST) $(WORKERS) -m "long or not long" tests/hostile tests/vmcore/test_vmcore_damaged.py \
		$(PYTEST_ARGS)

test-kdump: setup engine ## crash capture as users set it up, in a Debian with GRUB: long, and its output is shown
	$(Q)$(PYTEST) -n0 -rA -s -m "long or not long" $(wildcard tests/kdump) tests/vmcore/test_capture.py $(PYTEST_ARGS)

test-unit: setup engine ## run the tests that need no kernel
	$(Q)$(PYTEST) $(wildcard tests/unit tests/golden tests/setup) $(PYTEST_ARGS)

build: engine module ## build the engine and the module

engine: setup ## build the page-table engine; without it pageproof uses a slow walker in Python
	$(Q)$(MAKE) --no-print-directory -C c-helper python

module: setup ## build umh_shm.ko, which contains the helper, for each kernel or KERNEL
	$(Q)$(PAGEPROOF) lab build $(KERNEL_ARG)

helper: module ## same as module, because the module contains the helper

bench: setup engine ## run the benchmarks, on KERNEL or the demo's kernel
	$(Q)$(PAGEPROOF) lab bench $(KERNEL_ARG)

format: setup ## format the Python code
	$(Q)$(VENV)/ruff check --quiet --fix-only --select I .
	$(Q)$(VENV)/ruff format .

pins: ## update the pinned Python requirements to the newest versions (for maintainers)
	$(Q)setup/pin.sh

acceptance: ## run make demo and make test on a fresh Debian, then offline (root; DIST=bookworm|trixie)
	$(Q)setup/fresh-chroot.sh $(DIST) demo test

clean: ## remove what was built in the clone, but not the cache outside it
	$(Q)rm -rf build pageproof.egg-info
	$(Q)git clean -fdXq -- $(wildcard module c-helper)
	$(Q)find . -name __pycache__ -prune -exec rm -rf {} +

include mk/debug.mk mk/docs.mk mk/formats.mk mk/lint.mk mk/mutants.mk

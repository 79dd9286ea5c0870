# SPDX-License-Identifier: GPL-2.0-or-later
#
# The debug kernel (docs/debug-kernel.md), and fuzzing.
#
#   make fuzz-module FUZZ_KERNEL=6.12 FUZZ_CALLS=20000   a short run on another kernel
#   make fuzz-module FUZZ_SEED=7                         the calls of an earlier run

FUZZ_KERNEL ?= debug
FUZZ_CALLS ?= 1000000
FUZZ_SEED ?= 1
FUZZ_TURNS ?= 1000

.PHONY: debug-kernel test-debug-kernel fuzz-module fuzz

debug-kernel: setup ## build Linux 6.12 with KASAN, lockdep and other checks for the lab (half an hour)
	$(Q)$(PAGEPROOF) lab debug-kernel

test-debug-kernel: debug-kernel engine ## run the tests on the debug kernel, against its own page-table dumps
	$(Q)$(PYTEST) --numprocesses 0 -m "long or not long" tests/debug_kernel $(PYTEST_ARGS)

fuzz-module: setup engine ## fuzz the module's interface on the debug kernel (FUZZ_CALLS=1000000)
	$(Q)$(if $(filter debug,$(FUZZ_KERNEL)),$(PAGEPROOF) lab debug-kernel)
	$(Q)PYTHONPATH=drgn_scripts:lab:kdump:tests $(VENV)/python tests/fuzzmodule.py --kernel $(FUZZ_KERNEL) \
		--calls $(FUZZ_CALLS) --seed $(FUZZ_SEED) --turns $(FUZZ_TURNS)

fuzz: ## fuzz the engine for a short while (longer with FUZZ_RUNS=10000000)
	$(Q)setup/setup.sh base fuzz
	$(Q)$(MAKE) --no-print-directory -C c-helper fuzz

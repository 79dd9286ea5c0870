# SPDX-License-Identifier: GPL-2.0-or-later
#
# make mutants: mutation tests of the rules, and of the arithmetic and predicates that they use
# (setup/mutants.py lists the files). Each mutant is a copy of the package with one operator, number
# or argument changed. A mutant survives if no unit test fails.
#
#   make mutants MUTANTS='*judge.kmap*'   repeat only these mutants of the last run
#   make mutants MUTANT_JOBS=4            run four mutants at once

MUTANT_JOBS ?= $(shell nproc)
MUTANTS_DIR := build/mutants

.PHONY: mutants

mutants: ## run mutation tests of the rules and print the survivors (for maintainers; an hour)
	$(Q)setup/setup.sh --mutation base
	$(Q)$(if $(MUTANTS),,rm -rf $(MUTANTS_DIR))
	$(Q)build/venv-mutation/bin/python setup/mutants.py prepare $(MUTANTS_DIR)
	$(Q)cd $(MUTANTS_DIR) && ../venv-mutation/bin/mutmut run --max-children $(MUTANT_JOBS) $(foreach one,$(MUTANTS),'$(one)')
	$(Q)build/venv-mutation/bin/python setup/mutants.py report $(MUTANTS_DIR)

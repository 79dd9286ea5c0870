# SPDX-License-Identifier: GPL-2.0-or-later
#
# make mutants: mutation tests of the rules. Each mutant is a copy of the package with one operator,
# number or argument of judge/ changed; a mutant that no unit test notices has survived.
#
#   make mutants MUTANTS='*judge.kmap*'   of the last run, only these again
#   make mutants MUTANT_JOBS=4            so many at once

MUTANT_JOBS ?= $(shell nproc)
MUTANTS_DIR := build/mutants

.PHONY: mutants

mutants: ## mutation tests of the rules, and which mutants survive (for maintainers; an hour)
	$(Q)setup/setup.sh --mutation base
	$(Q)$(if $(MUTANTS),,rm -rf $(MUTANTS_DIR))
	$(Q)build/venv-mutation/bin/python setup/mutants.py lay $(MUTANTS_DIR)
	$(Q)cd $(MUTANTS_DIR) && ../venv-mutation/bin/mutmut run --max-children $(MUTANT_JOBS) $(foreach one,$(MUTANTS),'$(one)')
	$(Q)build/venv-mutation/bin/python setup/mutants.py tell $(MUTANTS_DIR)

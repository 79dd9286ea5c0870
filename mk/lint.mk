# SPDX-License-Identifier: GPL-2.0-or-later
#
# make lint: runs every check, even after one has failed, and fails if any did.

# Files of the clone that are committed, or new and not ignored.
files = $(shell git ls-files --cached --others --exclude-standard --deduplicate -- $(1))

LINTS := lint-sources lint-docs lint-python lint-types lint-shell lint-module

.PHONY: lint lint-setup $(LINTS)

lint: ## check all: licence lines, documents, ruff, mypy --strict, shellcheck, checkpatch, sparse
	$(Q)$(MAKE) --no-print-directory --keep-going $(LINTS)

lint-setup:
	$(Q)setup/setup.sh base lint

lint-sources: lint-setup ## check only licence lines, length of files, white space, links
	$(Q)$(VENV)/python setup/check_sources.py

lint-docs: lint-setup ## check only documents: width, commands, transcripts, tables of rules
	$(Q)$(VENV)/python setup/check_docs.py

lint-python: lint-setup ## check only with ruff, rules and format
	$(Q)$(VENV)/ruff check --quiet --output-format concise
	$(Q)$(VENV)/ruff format --quiet --check || { echo "files are not formatted; run: make format"; exit 1; }

lint-types: lint-setup ## check only with mypy --strict
	$(Q)$(VENV)/mypy --no-error-summary $(call files,'*.py')

lint-shell: lint-setup ## check only with shellcheck
	$(Q)$(VENV)/python setup/check_sources.py --list shell | xargs -r shellcheck

lint-module: lint-setup ## check only the module, with checkpatch and sparse, for each kernel or KERNEL
	$(Q)$(PAGEPROOF) lab lint $(KERNEL_ARG)

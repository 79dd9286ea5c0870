# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the documents show of the program. Their checks are in lint.mk.
#
#   make transcripts DOCS=docs/kmap.md   only this document

.PHONY: transcripts

transcripts: setup engine ## run the commands that the documents show on real guests, keep the output
	$(Q)$(VENV)/python setup/transcripts.py $(KERNEL_ARG) $(DOCS)

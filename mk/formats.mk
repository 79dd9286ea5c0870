# SPDX-License-Identifier: GPL-2.0-or-later
#
# Dumps in all formats, at all levels, of all kernels. The dumps stay in build/formats; remove it to
# make them anew. PAGEPROOF_MAKEDUMPFILE names another makedumpfile than the lab's,
# PAGEPROOF_FORMATS_WORKERS how many dumps are read at a time.

.PHONY: test-formats

test-formats: setup engine ## read dumps in all formats, levels and kernels; write the table of docs/dumps.md (an hour)
	$(Q)$(PYTEST) -m "long or not long" -s tests/vmcore/test_formats.py $(PYTEST_ARGS)
	$(Q)$(VENV)/python setup/format_table.py

# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that looks at a target until it holds still: facts, or why there are none."""

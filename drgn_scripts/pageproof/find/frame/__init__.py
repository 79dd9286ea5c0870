# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about frames: ``struct page``, counts, owners, content."""

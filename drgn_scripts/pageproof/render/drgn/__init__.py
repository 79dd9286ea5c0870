# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn code that finds what a report shows (``--drgn``)."""

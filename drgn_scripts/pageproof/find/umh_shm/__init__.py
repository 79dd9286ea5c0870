# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory of pageproof's own module: its region, and the slots in it."""

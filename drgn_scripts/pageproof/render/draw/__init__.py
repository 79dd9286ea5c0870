# SPDX-License-Identifier: GPL-2.0-or-later
"""Lay reports out on a sheet: a module for each report, with its ``draw_…(report, sheet)``."""

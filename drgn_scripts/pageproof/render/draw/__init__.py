# SPDX-License-Identifier: GPL-2.0-or-later
"""Lay reports out on a sheet: one module a report, each with its ``draw_…(report, sheet)``."""

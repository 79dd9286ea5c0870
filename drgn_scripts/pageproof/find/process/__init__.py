# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about tasks: their VMAs, paths and devices."""

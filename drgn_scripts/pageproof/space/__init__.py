# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic of addresses and ranges. This room imports nothing but the model."""

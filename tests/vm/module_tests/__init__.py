# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of umh_shm.ko inside a guest, as root: what it must do and refuse. Standard library only.

`harness` loads the module and reports checks; each other file has groups of checks, which
`run_module_tests.py` lists. Every group loads the module itself and leaves it unloaded.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""What umh_shm.ko must do and refuse, tried inside a guest as root. Standard library only.

`harness` has the loading and the checking; each other file holds groups of checks, which
`run_module_tests.py` lists. Every group loads the module itself and leaves it unloaded.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Set a machine up for crash capture, and undo it.

``place`` is where the dump goes, ``machine`` what the machine has, ``plan`` what to write and run,
``changes`` writes all of it or nothing and restores it, ``load`` builds and loads the initramfs.
"""

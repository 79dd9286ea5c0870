# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of the crash kernel, built from the programs and modules of a Linux tree.

``init`` is its only program of ours. ``programs`` copies others with their libraries, ``modules``
the kernel's modules, ``archive`` packs, and ``image`` puts an image together.
"""

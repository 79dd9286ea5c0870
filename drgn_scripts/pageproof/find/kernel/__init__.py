# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about the kernel as a whole: paging, memory map, image, modules, names."""

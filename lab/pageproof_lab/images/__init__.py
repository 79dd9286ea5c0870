# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is made of: kernels, the module, Debian trees, disks and initramfs images.

Everything here is made once and kept in the cache. Nothing here starts a guest.
"""

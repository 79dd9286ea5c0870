# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts for ``audit``: the kernel's half, frames, processes and owners."""

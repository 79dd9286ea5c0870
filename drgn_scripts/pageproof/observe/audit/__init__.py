# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``audit`` looks at: the kernel's half, frames, processes and owners."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests: boot a kernel in QEMU, run commands in it, crash it, end it.

`keeper` is the process that cannot outlive its owner, `qemu` the command line, `channel` the two
protocols (QMP and the guest agent), `guest` a running guest, `boot` the way to one.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The bug lab after a panic with all bugs in the kernel: verify finds them in the vmcore."""

from bugchecks import each_bug, look, nothing_else, slots
from buglab import Bug
from plugins.bugs import Bugged, Looked, each_bugged_kernel_at_length

pytestmark = each_bugged_kernel_at_length


@each_bug
def test_from_the_vmcore(in_vmcore: Looked, bugged: Bugged, bug: Bug) -> None:
    look(in_vmcore, bugged, bug)


def test_nothing_else_from_the_vmcore(in_vmcore: Looked, bugged: Bugged) -> None:
    nothing_else(in_vmcore, bugged)


def test_slots_from_the_vmcore(in_vmcore: Looked) -> None:
    slots(in_vmcore)

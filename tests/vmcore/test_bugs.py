# SPDX-License-Identifier: GPL-2.0-or-later
"""The bug lab after a panic with all bugs in the kernel: verify finds them in the vmcore."""

from bugchecks import check_bug, check_nothing_else, check_slots, each_bug
from buglab import Bug
from plugins.bugs import Bugged, Results, each_bugged_kernel_at_length

pytestmark = each_bugged_kernel_at_length


@each_bug
def test_from_the_vmcore(in_vmcore: Results, bugged: Bugged, bug: Bug) -> None:
    check_bug(in_vmcore, bugged, bug)


def test_nothing_else_from_the_vmcore(in_vmcore: Results, bugged: Bugged) -> None:
    check_nothing_else(in_vmcore, bugged)


def test_slots_from_the_vmcore(in_vmcore: Results) -> None:
    check_slots(in_vmcore)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The module's own tests, which run inside the guest (tests/vm), one kernel at a time."""

import re
from collections.abc import Sequence

import pytest
from machine import Machine, Result, each_kernel, each_kernel_under_stress
from run_module_tests import GROUPS

#: These take an emulated guest 10 to 45 s each.
STRESS = ("twenty_times", "killed_20_times", "chaos", "scribbler", "orders")
QUICK = [group for group in GROUPS if group not in STRESS]


@pytest.fixture(scope="module")
def quick(machine: Machine) -> Result:
    """What all quick groups said, run by one Python: it takes the guest seconds to start."""
    return run(machine, QUICK)


@each_kernel
@pytest.mark.parametrize("group", QUICK)
def test_module(quick: Result, group: str) -> None:
    passes(quick, group)


@each_kernel_under_stress
@pytest.mark.parametrize("group", STRESS)
def test_module_under_stress(machine: Machine, group: str) -> None:
    passes(run(machine, [group]), group)


def run(machine: Machine, groups: Sequence[str]) -> Result:
    machine.unload()
    script = "/opt/pageproof/vm/run_module_tests.py"
    ran = machine.guest.run("python3", script, *groups, timeout_seconds=1800)
    return Result(ran.code, ran.out, ran.err)


def passes(ran: Result, group: str) -> None:
    """Each check of a group is ok, up to the last, of the kernel's log."""
    checks = re.findall(rf"^(ok|not ok) \d+ - {group}: (.*)", ran.out, re.MULTILINE)
    assert [check for check in checks if check[0] != "ok"] == [], ran.out + ran.err
    assert ("ok", "kernel log is clean") in checks, ran.out + ran.err

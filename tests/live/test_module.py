# SPDX-License-Identifier: GPL-2.0-or-later
"""The module's own tests (tests/vm), which run inside the guest of each kernel."""

import re
from collections.abc import Sequence

import pytest
from machine import Machine, Result, each_kernel, each_kernel_under_stress
from run_module_tests import GROUPS

#: Each takes 10 to 45 s in an emulated guest.
STRESS = ("twenty_times", "killed_20_times", "chaos", "scribbler", "orders")
QUICK = [group for group in GROUPS if group not in STRESS]


@pytest.fixture(scope="module")
def quick(machine: Machine) -> Result:
    """Results of all quick groups. One Python runs them, as it takes the guest seconds to start."""
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
    """Each check of a group passes, including the last one, of the kernel log."""
    checks = re.findall(rf"^(ok|not ok) \d+ - {group}: (.*)", ran.out, re.MULTILINE)
    assert [check for check in checks if check[0] != "ok"] == [], ran.out + ran.err
    assert ("ok", "kernel log is clean") in checks, ran.out + ran.err

# SPDX-License-Identifier: GPL-2.0-or-later
"""The module's own tests, which run inside the guest (tests/vm), one kernel at a time."""

import pytest
from machine import Machine, each_kernel, each_kernel_under_stress
from run_module_tests import GROUPS

#: These take an emulated guest 10 to 45 s each.
STRESS = ("twenty_times", "killed_20_times", "chaos", "scribbler", "orders")


@each_kernel
@pytest.mark.parametrize("group", [group for group in GROUPS if group not in STRESS])
def test_module(machine: Machine, group: str) -> None:
    passes(machine, group)


@each_kernel_under_stress
@pytest.mark.parametrize("group", STRESS)
def test_module_under_stress(machine: Machine, group: str) -> None:
    passes(machine, group)


def passes(machine: Machine, group: str) -> None:
    machine.unload()
    ran = machine.guest.run(
        "python3", "/opt/pageproof/vm/run_module_tests.py", group, timeout_seconds=300
    )
    failures = [line for line in ran.out.splitlines() if line.startswith("not ok")]
    assert (ran.code, failures) == (0, []), ran.out + ran.err
    assert "\nok " in f"\n{ran.out}"

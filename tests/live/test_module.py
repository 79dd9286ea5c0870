# SPDX-License-Identifier: GPL-2.0-or-later
"""The module's own tests, which run inside the guest (tests/vm), one kernel at a time."""

import pytest
from machine import Machine, each_kernel
from run_module_tests import GROUPS


@each_kernel
@pytest.mark.parametrize("group", GROUPS)
def test_module(machine: Machine, group: str) -> None:
    machine.unload()
    ran = machine.guest.run(
        "python3", "/opt/pageproof/vm/run_module_tests.py", group, timeout_seconds=300
    )
    failures = [line for line in ran.out.splitlines() if line.startswith("not ok")]
    assert (ran.code, failures) == (0, []), ran.out + ran.err
    assert "\nok " in f"\n{ran.out}"

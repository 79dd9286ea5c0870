# SPDX-License-Identifier: GPL-2.0-or-later
"""The bulk reader of the engine against drgn's helpers, on a busy guest while it is stopped."""

from collections.abc import Iterator

import pytest
from attached import attached, frozen
from bulkoracle import bulk_of, compare
from machine import Machine, each_kernel
from sharing import Everything

#: Page caches to compare. Each takes drgn some milliseconds.
CACHES = 100


@pytest.fixture
def moving(machine: Machine) -> Iterator[None]:
    """A program that maps and unmaps, and a process that has mappings of each kind and spins."""
    started = [machine.start("remaps")["pid"], machine.start("spaces.py", "spin")]
    yield
    for pid in started:
        machine.end_group(pid)


@each_kernel
@pytest.mark.usefixtures("moving")
def test_structures_are_drgns(machine: Machine, everything: Everything) -> None:
    with attached(machine) as view, frozen(machine):
        speed = compare(bulk_of(view.target, view.form, view.paging), CACHES)
    print(f"{machine.setup}: {speed}")
    assert speed.vmas > 500

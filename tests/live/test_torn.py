# SPDX-License-Identifier: GPL-2.0-or-later
"""A list of VMAs that changes while it is read is read again, and is never reported as empty."""

from collections.abc import Iterator

import pytest
from machine import Json, Machine, each_kernel

ROUNDS = 5


@pytest.fixture
def moving(loaded: Machine) -> Iterator[Json]:
    """The output of tests/vm/remaps.c, which maps and unmaps all the time."""
    facts: Json = loaded.start("remaps")
    yield facts
    loaded.end_group(facts["pid"])


@each_kernel
def test_what_stays_is_found_beside_what_moves(loaded: Machine, moving: Json) -> None:
    """A command may never get a consistent list (exit code 3), but must not fail or be wrong."""
    pid, (stays,) = str(moving["pid"]), moving["regions"]
    address = f"{stays['address']:x}"
    for _ in range(ROUNDS):
        maps = loaded.outside("maps", "--pid", pid, "--format", "json")
        assert maps.code in (0, 3), maps.err
        assert maps.code == 0 or maps.report["lost"] or not maps.report["stable"]
        walk = loaded.outside("walk", address, "--pid", pid)
        assert walk.code in (0, 3), walk.err
        assert "no VMA covers" not in walk.out, walk.out
        regions = loaded.outside("regions", "--pid", pid, "--kind", "shmem", "--format", "json")
        assert regions.code in (0, 3), regions.err
        uses = [use for one in regions.report["regions"] for use in one["uses"]]
        assert uses or regions.report["task_faults"], regions.out
        verify = loaded.outside("verify", "--pid", pid, "--kind", "shmem", "--format", "json")
        assert verify.code in (0, 3), verify.err + verify.out
        assert {one["verdict"] for one in verify.report["proofs"]} <= {"SAME", "UNKNOWN"}

# SPDX-License-Identifier: GPL-2.0-or-later
"""A search of all processes while some are being made or torn down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit.facts import CORE, LIVE, PAGING, mapping

from pageproof.attach import Target
from pageproof.find.shared import Claimed, Found
from pageproof.find.shared.umh_shm import UMH_SHM
from pageproof.model import TargetFacts, TaskFault
from pageproof.observe import search

STAYS, COMES, GOES = 1, 2, 3


def claimed(pid: int) -> Claimed:
    return Claimed(UMH_SHM, cast(Any, None), mapping(pid=pid))


def fault(pid: int) -> TaskFault:
    return TaskFault(pid, "sleep", "address is not mapped: 0x48")


#: What a search gives of all processes, and then of each.
OF_ALL = Found((claimed(STAYS), claimed(GOES)), (), (fault(0), fault(GOES), fault(COMES)))
BY_PROCESS = {COMES: Found((claimed(COMES),), (), ()), GOES: Found((), (), ())}


@pytest.mark.parametrize(
    ("facts", "pids", "faults"),
    [(LIVE, [STAYS, COMES], [0]), (CORE, [STAYS, GOES], [0, GOES, COMES])],
    ids=["live", "vmcore"],
)
def test_who_could_not_be_read_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, facts: TargetFacts, pids: list[int], faults: list[int]
) -> None:
    """By himself: he is there by then, or has gone. In a dump nothing comes or goes."""

    def find_shared(
        prog: object, paging: object, finders: object, pid: int | None, *_: object
    ) -> Found:
        return OF_ALL if pid is None else BY_PROCESS[pid]

    monkeypatch.setattr(search, "find_shared", find_shared)
    target = cast(Target, SimpleNamespace(prog=None, facts=facts))
    found = search.search_shared(target, PAGING, [UMH_SHM])
    assert [one.mapping.pid for one in found.claimed] == pids
    assert [one.pid for one in found.faults] == faults

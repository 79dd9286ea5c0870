# SPDX-License-Identifier: GPL-2.0-or-later
"""The two readers of kernel structures in bulk give the same reports; and no false TaskFault."""

from dataclasses import replace

import drgn
from attached import View, attached, frozen
from machine import Machine, each_kernel
from sharing import Everything

from pageproof.commands.regions import regions
from pageproof.commands.verify import verify
from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.engine import EngineBulk
from pageproof.find.bulk.objects import ObjectBulk
from pageproof.find.bulk.protocol import Bulk
from pageproof.find.process.mappings import key_of
from pageproof.find.shared import all_finders, find_claims, find_shared
from pageproof.model import Report, Times
from pageproof.model.asked import RegionsAsked, VerifyAsked, WalkerChoice
from pageproof.model.regions import RegionsReport
from pageproof_lab.bench.mappers import kill_mappers, start_mappers
from pageproof_lab.bench.programs import build_programs
from pageproof_lab.bench.scenario import GROUP, SCENARIOS

pytestmark = each_kernel
#: Looks at a guest under load.
LOOKS = 5
AROUND = "/sys/kernel/debug/fault_around_bytes"


def reports(
    view: View, bulk: Bulk, walker: WalkerChoice = WalkerChoice.C
) -> tuple[RegionsReport, Report]:
    """Return the reports of both commands, without times and number of attempts."""
    view.target.prog.cache["pageproof.bulk"] = bulk
    found = regions(view.target, RegionsAsked(), lambda _: None)
    proved = verify(view.target, VerifyAsked(walker=walker), lambda _: None)
    return replace(found, attempts=0), replace(proved, times=Times(0, 0, 0))


def test_both_readers_give_the_same_reports(machine: Machine, everything: Everything) -> None:
    machine.load()
    with attached(machine) as view:
        view.target.prog.load_debug_info([machine.built.module])
        engine = bulk_of(view.target.prog)
        assert isinstance(engine, EngineBulk)
        with frozen(machine):
            fast = reports(view, engine)
            slow = reports(view, ObjectBulk(view.target.prog))
    assert fast == slow
    kinds = {region.kind for region in fast[0].regions}
    assert kinds >= {"umh_shm", "shmem", "hugetlb", "vdso", "perf", "bpf"}
    assert len(fast[0].regions) > len(kinds)
    assert not fast[0].task_faults


def test_the_same_reports_of_small_servers(machine: Machine) -> None:
    """Small versions of the benchmark's guests; the slow way has no code of the engine's."""
    machine.load()
    small = [one.smaller(6, 12, 1) for one in SCENARIOS.values()]
    groups = [one.group.replace(GROUP, one.name) for one in small]
    mappers = start_mappers(machine.guest, build_programs() / "mappers", groups)
    try:
        for scenario in small:
            scenario.check([one for one in mappers if one.group == scenario.name])
        with attached(machine) as view:
            view.target.prog.load_debug_info([machine.built.module])
            engine = bulk_of(view.target.prog)
            assert isinstance(engine, EngineBulk)
            with frozen(machine):
                fast = reports(view, engine)
                slow = reports(view, ObjectBulk(view.target.prog), WalkerChoice.PYTHON)
    finally:
        kill_mappers(machine.guest, mappers)
        machine.guest.check("sh", "-c", f"echo 65536 > {AROUND}")  # start_mappers() changes it
    assert fast == slow
    pids = {one.pid for one in mappers}
    found = [use for one in fast[0].regions for use in one.uses if use.mapping.pid in pids]
    assert sum(use.resident_pages for use in found) >= sum(one.ptes for one in small)


def test_the_second_search_finds_the_same_claims(machine: Machine, everything: Everything) -> None:
    """`verify` compares the claims of its first search with those of one that makes no facts."""
    machine.load()
    with attached(machine) as view, frozen(machine):
        prog, paging = view.target.prog, view.paging
        prog.load_debug_info([machine.built.module])
        shared = find_shared(prog, paging, all_finders())
        claims = find_claims(prog, paging, all_finders())
    assert claims.claims == {key_of(one.mapping): one.claim for one in shared.claimed}
    assert len(claims.claims) == len(shared.claimed) > 50
    assert (claims.unclaimed, claims.faults) == (shared.unclaimed, shared.faults)


def test_both_readers_find_the_same_structures(machine: Machine, everything: Everything) -> None:
    """VMAs of all processes, all PIDs, and the page cache of each file in memory."""
    with attached(machine) as view, frozen(machine):
        prog = view.target.prog
        engine, objects = bulk_of(prog), ObjectBulk(prog)
        assert isinstance(engine, EngineBulk)
        mms = [tree.mm.value_() for tree in view.processes()]
        fast, slow = engine.vmas(mms), objects.vmas(mms)
        assert len(fast) > 10 * len(mms)
        assert list(fast.spaces) == list(slow.spaces)
        assert fast.words.tobytes() == slow.words.tobytes()
        assert not fast.faults and not slow.faults
        pids = prog["init_pid_ns"].idr.idr_rt.xa_head.address_
        assert pids is not None
        assert engine.xarray(pids) == objects.xarray(pids)
        step = prog.type("struct page").size
        files = {fast.record(number).file for number in range(len(fast))} - {0}
        mappings = {drgn.Object(prog, "struct file *", one).f_mapping.value_() for one in files}
        caches = 0
        for mapping in mappings:
            space = drgn.Object(prog, "struct address_space *", mapping)
            head = space.i_pages.xa_head.address_
            assert head is not None
            for each in (0, step):
                assert engine.xarray(head, each) == objects.xarray(head, each)
            caches += bool(engine.xarray(head)[0])
        assert caches > 10


def test_no_false_fault_under_load(machine: Machine, everything: Everything) -> None:
    """Processes fork, exec, map, unmap and exit meanwhile."""
    busy = machine.start("busy")
    spawn = "while test ! -e /run/bulk.stop; do sh -c 'sh -c true; sh -c : & wait'; done"
    machine.guest.check("rm", "-f", "/run/bulk.stop")
    machine.guest.check("sh", "-c", f'setsid sh -c "{spawn}" >/dev/null 2>&1 </dev/null &')
    try:
        for _ in range(LOOKS):
            report = machine.outside("regions", "--format", "json").report
            assert report["task_faults"] == []
            assert [one for one in report["findings"] if one["severity"] == "error"] == []
    finally:
        machine.guest.check("touch", "/run/bulk.stop")
        machine.end_group(busy["pid"])

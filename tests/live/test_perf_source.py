# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching inside the machine: each access to shares_counter's page is known.

tests/vm/watch_counter.py runs in the guest and watches; what it saw is compared here with what the
program and the module did.
"""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from machine import Json, Machine, each_kernel_at_length, on_one_kernel

#: Numbers of the places: the kernel's and the user's address of one process.
KERNEL, USER = 0, 1
#: Both functions are shorter.
FUNCTION_BYTES = 64
SCRIPT = "/opt/pageproof/vm/watch_counter.py"
COMMAND_SECONDS = 1200

WAYS = ("counter", "softirq", "hardirq", "thread", "writes", "pieces", "two_processes")
MORE = ("few_registers", "two_fields", "disarmed", "refusals", "full_ring", "killed")


def run(machine: Machine, *ways: str) -> Json:
    machine.load_test_module("shares_counter")
    path = "PYTHONPATH=/opt/pageproof/drgn_scripts:/opt/pageproof/lib"
    command = ("env", path, "python3", "-W", "ignore", SCRIPT, *ways)
    said: Json = json.loads(machine.guest.check(*command, timeout_seconds=COMMAND_SECONDS))
    return said


@pytest.fixture(scope="module")
def watched(machine: Machine) -> Json:
    return run(machine, *WAYS, *MORE)


def value(hit: Json) -> int:
    assert hit["value"] is not None
    return int.from_bytes(bytes.fromhex(hit["value"]), "little")


def expected(rounds: int) -> list[tuple[int, str, str, int]]:
    """(place, mode, access, value after) of each access to the count, in order."""
    accesses = []
    for count in range(rounds):
        place, mode = (KERNEL, "kernel") if count % 2 else (USER, "user")
        accesses += [(place, mode, "read", count), (place, mode, "write", count + 1)]
    return accesses


def accesses(seen: Json) -> list[tuple[int, str, str, int]]:
    return [(hit["place"], hit["mode"], hit["access"], value(hit)) for hit in seen["hits"]]


def nothing_is_lost(seen: Json) -> None:
    assert (seen["lost"], seen["left"]) == ([0, 0], "")


def is_whole(seen: Json, rounds: int) -> None:
    """Check that every access was seen, in order, and nothing else."""
    assert seen["refused"] == ["", ""]
    assert accesses(seen) == expected(rounds)
    nothing_is_lost(seen)


@each_kernel_at_length
def test_each_access_is_seen_in_order(watched: Json) -> None:
    seen = watched["counter"]
    is_whole(seen, 1000)
    times = [seen["start"], *(hit["ns"] for hit in seen["hits"])]
    assert all(one <= other for one, other in pairwise(times))


@each_kernel_at_length
def test_who_it_was(watched: Json) -> None:
    """The program is bound to CPU 0; its functions' addresses come from it and from kallsyms."""
    seen = watched["counter"]
    starts = {
        "user": seen["user_adds"],
        "kernel": watched["functions"]["shares_counter_kernel_adds"],
    }
    for hit in seen["hits"]:
        assert (hit["pid"], hit["tid"]) == (seen["pid"], seen["pid"])
        assert (hit["comm"], hit["cpu"], hit["context"]) == ("shares_counter", 0, "task")
        assert 0 < hit["ip"] - starts[hit["mode"]] < FUNCTION_BYTES


@each_kernel_at_length
def test_the_stack_leads_to_the_caller(watched: Json) -> None:
    caller = watched["functions"]["shares_counter_ioctl"]
    for hit in watched["counter"]["hits"]:
        if hit["mode"] == "kernel":
            assert 0 < hit["stack"][0] - caller < 8 * FUNCTION_BYTES
            assert len(hit["stack"]) > 2


@each_kernel_at_length
@pytest.mark.parametrize("context", ["softirq", "hardirq"])
def test_an_interrupt_is_told_from_a_task(watched: Json, context: str) -> None:
    seen = watched[context]
    is_whole(seen, 20)
    contexts = {(hit["mode"], hit["context"]) for hit in seen["hits"]}
    assert contexts == {("user", "task"), ("kernel", context)}


@each_kernel_at_length
def test_a_thread_that_is_younger_than_the_watch(watched: Json) -> None:
    seen = watched["thread"]
    is_whole(seen, 20)
    assert {hit["pid"] for hit in seen["hits"]} == {seen["pid"]}
    (tid,) = {hit["tid"] for hit in seen["hits"]}
    assert tid != seen["pid"]


@each_kernel_at_length
def test_writes_only(watched: Json) -> None:
    seen = watched["writes"]
    assert accesses(seen) == [one for one in expected(20) if one[2] == "write"]
    nothing_is_lost(seen)


@each_kernel_at_length
def test_two_fields_that_are_written_in_turns(watched: Json) -> None:
    """QEMU reports the breakpoint of the last access once more, with that of the next one."""
    seen = watched["two_fields"]
    assert seen["refused"] == [""] * 4
    wanted = []
    for count in range(20):
        place, mode = (KERNEL, "kernel") if count % 2 else (USER, "user")
        wanted += [(place + 2, mode, "write", count + 1), (place, mode, "write", 1 - count % 2)]
    assert accesses(seen) == wanted
    nothing_is_lost(seen)


@each_kernel_at_length
def test_a_field_in_two_pieces_is_one_place(watched: Json) -> None:
    """The upper half of the turn, and the count: an access is one hit, with all bytes.

    All four registers are used, so only what changed the value is a write. The turn's upper
    half never changes.
    """
    seen = watched["pieces"]
    wanted = []
    for place, mode, access, count in expected(20):
        wanted.append((place, mode, "access" if access == "read" else access, count << 16))
        if access == "write":
            wanted.append((place, mode, "access", count << 16))  # the turn
    assert accesses(seen) == wanted
    nothing_is_lost(seen)


@each_kernel_at_length
def test_nothing_of_another_process_at_the_same_address(watched: Json) -> None:
    seen = watched["two_processes"]
    is_whole(seen, 100)
    assert {hit["pid"] for hit in seen["hits"]} == {seen["pid"]}


@each_kernel_at_length
def test_processes_with_one_address_share_a_register(watched: Json) -> None:
    seen = watched["few_registers"]
    assert seen["refused"][:6] == [""] * 6
    for process, pid in enumerate(seen["pids"]):
        hits = [hit for hit in seen["hits"] if hit["place"] // 2 == process]
        assert {hit["pid"] for hit in hits} == {pid}
        told = [
            (place % 2, mode, access, count)
            for place, mode, access, count in accesses({"hits": hits})
        ]
        # With one register each, a read is an access of some kind.
        assert told == [
            (place, mode, "access" if access == "read" else access, count)
            for place, mode, access, count in expected(100)
        ]
    nothing_is_lost(seen)


@each_kernel_at_length
def test_too_many_places(watched: Json) -> None:
    fifth, overlapping = watched["few_registers"]["refused"][6:]
    assert fifth == (
        "no debug register is left: it needs one, a CPU has 4, 4 are used for places before it; "
        "choose a narrower field (--field) or one place"
    )
    assert "overlaps another place" in overlapping


@each_kernel_at_length
def test_a_disarmed_place_frees_its_registers(watched: Json) -> None:
    """The kernel's count is disarmed, then its turn is armed."""
    seen = watched["disarmed"]
    assert seen["refused"] == [""] * 3
    turns = [hit for hit in seen["hits"] if hit["place"] == 5]
    assert [(hit["access"], value(hit)) for hit in turns] == [("write", 0)] * 5
    users = [hit for hit in seen["hits"] if hit["place"] == USER]
    # The read's value was written by the kernel, unseen.
    assert [value(hit) for hit in users] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert len(turns) + len(users) == len(seen["hits"])
    nothing_is_lost(seen)


@each_kernel_at_length
def test_refusals_are_explained(watched: Json) -> None:
    said = watched["refusals"]
    assert said["long"].startswith("40 bytes need ")
    assert said["odd"].startswith("16 bytes need 5 debug registers of 1, 2, 4 or 8 aligned bytes")
    assert all("choose a narrower field (--field)" in said[name] for name in ("long", "odd"))
    assert "entry code" in said["tss"]
    assert said["no mm"] == "its address space is not known"
    assert said["closed"] == "the watch has ended"
    assert "Operation not permitted; watching inside needs root" in said["unprivileged"]


@each_kernel_at_length
def test_a_full_ring_is_counted(watched: Json) -> None:
    """Every access is either delivered or lost."""
    seen = watched["full_ring"]
    running, closed = seen["lost"]
    assert running == closed > 0
    assert seen["hits"] > 0
    assert seen["hits"] + closed == len(expected(seen["rounds"]))


@each_kernel_at_length
def test_a_killed_watcher_leaves_nothing(watched: Json) -> None:
    seen = watched["killed"]
    assert seen["armed"] == ["", ""]
    assert "debuggers or perf use others" in seen["held"]
    is_whole(seen, 10)


@on_one_kernel
def test_a_guest_from_outside_is_refused(machine: Machine) -> None:
    from attached import attached

    from pageproof.errors import PageproofError
    from pageproof.watch.perf import PerfSource

    with (
        attached(machine) as view,
        pytest.raises(PageproofError, match="this machine only"),
    ):
        PerfSource(view.target)

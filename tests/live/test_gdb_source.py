# SPDX-License-Identifier: GPL-2.0-or-later
"""Hits of QEMU's gdb stub: both sides of the slot, and a program that makes known accesses."""

import threading
from collections.abc import Sequence
from itertools import islice, pairwise

from machine import Json, Machine, each_kernel, each_kernel_at_length, on_one_kernel
from watching import (
    HEALTH,
    ID,
    PAGE,
    PAYLOAD,
    QUIET_SECONDS,
    STATE,
    WORD,
    arm,
    assert_runs_unwatched,
    hits_of,
    slot_places,
    source_of,
    target_of,
    user_place,
)

from pageproof.attach import Target
from pageproof.model.watch import Access, Context, Mode, Place
from pageproof.watch.gdb import GdbSource
from pageproof.watch.source import Hit

READ, WRITE = Access.READ, Access.WRITE
KERNEL, USER = Mode.KERNEL, Mode.USER
IDLE, POSTED, CLAIMED, DONE = (number.to_bytes(4, "little") for number in range(4))
HEALTH_ID = b"\x02\0\0\0"


def sees_locked(source: GdbSource) -> bool:
    """QEMU before 8.0 does not report locked instructions of guests with several CPUs."""
    return not any("locked instructions" in note for note in source.notes)


def first(hits: Sequence[Hit], place: int, access: Access, value: bytes) -> int:
    return next(
        number
        for number, hit in enumerate(hits)
        if (hit.place, hit.access, hit.value) == (place, access, value)
    )


@each_kernel
def test_both_sides_of_a_health_check(loaded: Machine) -> None:
    script = f"echo $$; {HEALTH}"
    printed: list[str] = []
    with target_of(loaded) as target, source_of(loaded, target) as source:
        places = slot_places(loaded, target, ID, PAYLOAD, WORD, STATE)
        arm(source, places)
        hits = hits_of(source, lambda: printed.append(loaded.guest.check("sh", "-c", script)))
        locked = sees_locked(source)
    assert locked is (loaded.setup.cpus == 1)
    writer, helper = int(printed[0]), int(loaded.sysfs("helper_pid"))
    for hit in hits:
        place = places[hit.place]
        assert hit.mode is place.side
        assert hit.pid == hit.tid == (writer if place.side is KERNEL else helper)
        assert hit.comm == ("sh" if place.side is KERNEL else "umh_shm_helper")
        assert hit.context is Context.TASK
        assert 0 <= hit.cpu < loaded.setup.cpus
        assert hit.ip >> 63 == (place.side is KERNEL)
    assert [hit.ns for hit in hits] == sorted(hit.ns for hit in hits)
    order = [
        first(hits, 0, WRITE, HEALTH_ID),
        first(hits, 2, WRITE, b"hello"),
        first(hits, 4, WRITE, b"world"),
        first(hits, 6, WRITE, POSTED),
        first(hits, 1, READ, HEALTH_ID),
        first(hits, 3, READ, b"hello"),
        first(hits, 5, READ, b"world"),
        first(hits, 7, WRITE, DONE),
        first(hits, 6, READ, DONE),
        first(hits, 6, WRITE, IDLE),
    ]
    assert order == sorted(order)
    # The kernel writes the id once, and the helper never writes the request.
    assert [hit.access for hit in hits if hit.place == 0] == [WRITE]
    assert not any(hit.access is WRITE for hit in hits if hit.place in (1, 3, 5))
    states = [hit.value for hit in hits if hit.place in (6, 7) and hit.access is WRITE]
    assert states == [POSTED, *([CLAIMED] if locked else []), DONE, IDLE]
    assert_runs_unwatched(loaded)


# What tests/vm/accesses.c does: (word, access, value).
FIRST, SECOND, THIRD = 64, 68, 80
SEQUENCE = (
    (FIRST, WRITE, 1),
    (FIRST, READ, 1),
    (FIRST, WRITE, 2),
    (FIRST, WRITE, 3),  # locked
    (FIRST, WRITE, 3),  # locked; a cmpxchg writes back what it did not expect
    (FIRST, WRITE, 7),
    (SECOND, WRITE, 2),
    (FIRST, READ, 7),
    (SECOND, READ, 2),
    (FIRST, WRITE, 7),
    (SECOND, WRITE, 2),
    (SECOND, WRITE, 0x00000005),
    (SECOND, WRITE, 0x00000505),
    (SECOND, WRITE, 0x00050505),
    (SECOND, WRITE, 0x05050505),
)
LOCKED = (3, 4)
#: Rounds of a test that a watch ends between two hits.
ROUNDS = 2


def words(target: Target, facts: Json, who: str, frame: str, start: int) -> list[Place]:
    return [
        user_place(
            target,
            start + number,
            facts[who],
            facts["address"] + offset,
            4,
            facts[frame] * PAGE + offset,
        )
        for number, offset in enumerate((FIRST, SECOND, THIRD))
    ]


def act(machine: Machine, *pids: int, signal: str = "USR1") -> None:
    """Let processes of accesses.c make their accesses, and wait until they have."""
    output = "/run/started.json"
    files = " ".join(f"{output}.{pid}" for pid in pids)
    script = f"rm -f {files}; kill -{signal} {' '.join(map(str, pids))}; "
    script += "".join(f"while ! test -s {file}; do sleep 0.05; done; " for file in files.split())
    machine.guest.check("sh", "-c", script, timeout_seconds=300)


def expected(locked: bool) -> list[tuple[int, Access, int]]:
    return [one for at, one in enumerate(SEQUENCE) if locked or at not in LOCKED]


def accesses(
    places: Sequence[Place], hits: Sequence[Hit], locked: bool
) -> list[tuple[int, Access, int]]:
    """What was seen. A locked access may be seen by chance, after a hit at the same time."""
    numbers = {place.number: place.address % PAGE for place in places}
    seen = [
        (numbers[hit.place], hit.access, int.from_bytes(hit.value or b"", "little"))
        for hit in hits
        if hit.place in numbers
    ]
    return [one for one in seen if locked or one != SEQUENCE[LOCKED[0]]]


@each_kernel_at_length
def test_reads_and_writes_of_one_process(loaded: Machine) -> None:
    """Two processes use the same address on different frames, and one is watched."""
    facts = loaded.start("accesses")
    try:
        with target_of(loaded) as target, source_of(loaded, target) as source:
            ours = words(target, facts, "pid", "frame", 0)
            arm(source, ours)
            hits = hits_of(source, lambda: act(loaded, facts["twin"], facts["pid"]))
            locked = sees_locked(source)
            assert {hit.pid for hit in hits} == {facts["pid"]}
            assert {hit.mode for hit in hits} == {USER}
            assert accesses(ours, hits, locked) == expected(locked)
            theirs = words(target, facts, "twin", "twin_frame", 3)
            arm(source, theirs)
            hits = hits_of(source, lambda: act(loaded, facts["twin"], facts["pid"]))
            assert accesses(ours, hits, locked) == expected(locked)
            assert accesses(theirs, hits, locked) == expected(locked)
            assert {(hit.place // 3, hit.pid) for hit in hits} == {
                (0, facts["pid"]),
                (1, facts["twin"]),
            }
            for place in ours:
                source.disarm(place.number)
            hits = hits_of(source, lambda: act(loaded, facts["twin"], facts["pid"]))
            assert {hit.pid for hit in hits} == {facts["twin"]}
            for place in theirs:
                source.disarm(place.number)
            assert not hits_of(source, lambda: act(loaded, facts["twin"], facts["pid"]))
        assert_runs_unwatched(loaded)
    finally:
        loaded.end_group(facts["pid"])


@each_kernel_at_length
def test_a_hit_that_an_earlier_watch_has_left(loaded: Machine) -> None:
    """QEMU keeps it for the next access of the vCPU, which it reports at the old address."""
    facts = loaded.start("accesses")
    both = facts["pid"], facts["twin"]
    try:
        with target_of(loaded) as target:
            shared = counters(target, facts)
            ours = words(target, facts, "pid", "frame", 0)
            theirs = words(target, facts, "twin", "twin_frame", 3)
            for _ in range(ROUNDS):
                with source_of(loaded, target) as source:
                    arm(source, shared)
                    thread = threading.Thread(
                        target=act, args=(loaded, *both), kwargs={"signal": "USR2"}
                    )
                    thread.start()
                    seen = list(islice(source.hits(QUIET_SECONDS), 20))
                    assert len(seen) == 20
                thread.join()
                with source_of(loaded, target) as source:
                    arm(source, [*ours, *theirs])
                    hits = hits_of(source, lambda: act(loaded, *both))
                    locked = sees_locked(source)
                assert accesses(ours, hits, locked) == expected(locked)
                assert accesses(theirs, hits, locked) == expected(locked)
    finally:
        loaded.end_group(facts["pid"])


def counters(target: Target, facts: Json) -> list[Place]:
    """The words of the shared page, one for each process."""
    return [
        user_place(
            target,
            number,
            facts[who],
            facts["address"] + PAGE + offset,
            4,
            facts["shared_frame"] * PAGE + offset,
        )
        for number, (who, offset) in enumerate((("pid", FIRST), ("twin", SECOND)))
    ]


@each_kernel_at_length
def test_two_cpus_write_to_a_page_at_the_same_time(loaded: Machine) -> None:
    facts = loaded.start("accesses")
    try:
        with target_of(loaded) as target, source_of(loaded, target) as source:
            places = counters(target, facts)
            arm(source, places)
            both = facts["pid"], facts["twin"]
            hits = hits_of(source, lambda: act(loaded, *both, signal="USR2"))
        for place, pid in zip(places, both, strict=True):
            ours = [hit for hit in hits if hit.place == place.number]
            assert {(hit.pid, hit.access) for hit in ours} == {(pid, WRITE)}
            seen = [int.from_bytes(hit.value or b"", "little") for hit in ours]
            assert seen == list(range(1, 201))
        if loaded.setup.cpus > 1:
            assert len({hit.cpu for hit in hits}) > 1
            changes = sum(one.pid != other.pid for one, other in pairwise(hits))
            assert changes > 10  # they did run at the same time
    finally:
        loaded.end_group(facts["pid"])


@each_kernel_at_length
def test_stacks(loaded: Machine) -> None:
    with target_of(loaded) as target, source_of(loaded, target, stacks=True) as source:
        kernel, user = slot_places(loaded, target, ID)
        arm(source, [kernel, user])
        hits = hits_of(source, lambda: loaded.guest.check("sh", "-c", HEALTH))
        write, read = hits
        names = [target.prog.symbol(address).name for address in write.stack]
    assert write.stack[0] == write.ip
    assert names[0] == "umh_shm_proto_request"
    # The lab removes the sections of vmlinux that drgn needs to unwind.
    assert names[1:] in ([], names[1:] if "vfs_write" in names else ["vfs_write"])
    assert read.stack == ()


@on_one_kernel
def test_a_refused_place(loaded: Machine) -> None:
    with target_of(loaded) as target, source_of(loaded, target) as source:
        kernel, user = slot_places(loaded, target, ID)
        arm(source, [kernel])
        narrow = Place(2, 1, kernel.address, 2, kernel.paddr, KERNEL)
        assert "another field of 4 bytes begins at the same address" in source.arm(narrow)
        empty = Place(3, 2, user.address, 0, user.paddr, USER, roots=user.roots)
        assert source.arm(empty) == "QEMU refused it (E22); watch a narrower field"
        hits = hits_of(source, lambda: loaded.guest.check("sh", "-c", HEALTH))
        assert [hit.place for hit in hits] == [0]
        source.disarm(99)
        source.disarm(3)


@on_one_kernel
def test_armed_while_hits_come(loaded: Machine) -> None:
    """Nothing is lost when the guest is stopped to arm another place."""
    with target_of(loaded) as target, source_of(loaded, target) as source:
        places = slot_places(loaded, target, ID, STATE)
        arm(source, places[:1])
        count = 20
        loop = f"i=0; while [ $i -lt {count} ]; do {HEALTH}; i=$((i+1)); done"
        seen: list[Hit] = []

        def take() -> list[Hit]:
            hits = []
            for hit in source.hits(5):
                hits.append(hit)
                if len(hits) % 3 == 0:
                    number = len(hits) // 3 % 3 + 1
                    source.disarm(number) if len(hits) % 2 else source.arm(places[number])
            return hits

        thread = threading.Thread(
            target=lambda: loaded.guest.check("sh", "-c", loop, timeout_seconds=300)
        )
        thread.start()
        while thread.is_alive():
            seen += take()
        thread.join()
        assert [hit.value for hit in seen if hit.place == 0] == [HEALTH_ID] * count
    assert_runs_unwatched(loaded)

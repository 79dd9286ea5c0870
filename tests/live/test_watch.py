# SPDX-License-Identifier: GPL-2.0-or-later
"""`watch` sees a known sequence of accesses completely: from outside and inside, on all kernels."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from machine import START_SECONDS, Json, Machine, each_kernel, number, on_one_kernel
from watchcommand import Inside, Outside, program

from pageproof.front.watch import EPILOG

ROUNDS = 1000
DEVICE = "/dev/shares_counter"
COUNTER = ("--device", DEVICE, "--type", "struct shares_counter_page")
USER, KERNEL = "user_adds", "shares_counter_kernel_adds"
PLACES = {"outside": Outside, "inside": Inside}


@pytest.fixture(scope="module")
def counting(machine: Machine) -> Machine:
    machine.load_test_module("shares_counter")
    return machine


@pytest.fixture
def schema(checkout: Path) -> Json:
    path = checkout / "drgn_scripts/pageproof/schema/watch-1.json"
    found: Json = json.loads(path.read_text())
    return found


def begin(machine: Machine, pid: int) -> None:
    machine.guest.check("kill", "-s", "USR1", str(pid))


def await_done(machine: Machine, pid: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while machine.guest.run("test", "-s", f"/run/started.json.{pid}").code:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def sound(machine: Machine) -> int:
    """The exit code of a sound watch of reads and writes.

    QEMU 7.2 does not report locked instructions of guests with several CPUs.
    """
    return 3 if machine.setup.cpus > 1 else 0


def function(event: Json) -> str:
    name: str = event["code"]["symbol"].partition("+")[0]
    return name


def kinds(records: list[Json], name: str) -> list[Json]:
    return [one for one in records if one["record"] == name]


@each_kernel
@pytest.mark.parametrize("where", PLACES)
def test_a_known_sequence(counting: Machine, where: str, schema: Json) -> None:
    """Two accesses a round: a read and a write, in turns by both sides."""
    started = counting.start("shares_counter", "--rounds", str(ROUNDS))
    pid = started["pid"]
    symbols = ("--program", program(counting, "shares_counter", inside=where == "inside"))
    try:
        with PLACES[where](
            counting, *COUNTER, "--pid", str(pid), "--field", "count", *symbols
        ) as one:
            begin(counting, pid)
            await_done(counting, pid)
            records = one.end()
            assert one.code() == sound(counting), records[-1]
    finally:
        counting.end_group(pid)
    validator = jsonschema.Draft202012Validator(schema)
    for record in records:
        validator.validate(record)
    (start,), (end,) = kinds(records, "start"), kinds(records, "end")
    assert {place["side"] for place in start["places"]} == {"kernel", "user"}
    assert all(place["refused"] == "" for place in start["places"])
    events = kinds(records, "event")
    assert (end["events"], end["lost"], end["missed"]) == (2 * ROUNDS, 0, 0)
    places = start["places"]
    # A page that the kernel has freed of its image has two kernel addresses. Then the debug
    # registers of a CPU do not suffice to tell a read from a write that changes nothing.
    unclear = where == "inside" and sum(place["side"] == "kernel" for place in places) > 1
    assert unclear is any("one debug register" in note for note in start["notes"])
    read = "access" if unclear else "read"
    seen = [
        (places[one["place"]]["side"], one["mode"], one["access"].replace(read, "read"),
         one["before"], one["after"], function(one), one["pid"])
        for one in events
    ]  # fmt: skip
    expected = []
    for count in range(ROUNDS):
        side, name = ("user", USER) if count % 2 == 0 else ("kernel", KERNEL)
        expected += [
            (side, side, "read", str(count), str(count), name, pid),
            (side, side, "write", str(count), str(count + 1), name, pid),
        ]
    assert seen == expected, (start, end)
    assert [one["number"] for one in events] == list(range(1, 2 * ROUNDS + 1))
    assert all(one["seconds"] <= other["seconds"] for one, other in pairwise(events))


@each_kernel
@pytest.mark.parametrize("where", PLACES)
def test_another_process_at_the_same_address(counting: Machine, where: str) -> None:
    """Both count at once, each on its own page."""
    started = counting.start("shares_counter", "--rounds", "100", "--processes", "2")
    first, second = started["pids"]
    try:
        with PLACES[where](counting, *COUNTER, "--pid", str(second), "--field", "count") as one:
            for pid in (first, second):
                begin(counting, pid)
            for pid in (first, second):
                await_done(counting, pid)
            records = one.end()
    finally:
        counting.end_group(started["pid"])
    (start,) = kinds(records, "start")
    (user,) = (place for place in start["places"] if place["side"] == "user")
    assert number(user["address"]) & -4096 == started["address"]
    assert user["pid"] == second
    events = kinds(records, "event")
    assert len(events) == 200
    assert {event["pid"] for event in events} == {second}


@on_one_kernel
@pytest.mark.parametrize("broken", [False, True])
def test_the_owner_of_the_document(counting: Machine, checkout: Path, broken: bool) -> None:
    """The example of docs/your-driver.md; the other way round everything is wrong."""
    text = (checkout / "docs/your-driver.md").read_text()
    (owner,) = re.findall(r"--owner '(.*)'", text)
    if broken:
        owner = "kernel if turn == SHARES_COUNTER_USER else user"
    started = counting.start("shares_counter", "--rounds", "20")
    pid = started["pid"]
    try:
        words = *COUNTER, "--owner", owner, "--pid", str(pid), "--field", "count"
        with Outside(counting, *words) as one:
            begin(counting, pid)
            await_done(counting, pid)
            (*_, end) = one.end()
            assert one.code() == (1 if broken else sound(counting)), end
    finally:
        counting.end_group(pid)
    assert {one["id"] for one in end["findings"]} == (
        {"unsynchronized-access"} if broken else set()
    )


@on_one_kernel
@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_a_signal_ends_it_regularly(loaded: Machine, name: str) -> None:
    with Outside(loaded, "--kind", "umh_shm", "--field", "state") as one:
        loaded.guest.check("sh", "-c", "echo 1 > /sys/class/misc/umh_shm/health")
        (*_, end) = one.end(name)
        assert (one.code(), end["record"], end["why"]) == (sound(loaded), "end", "interrupted")
        assert end["findings"] == []
    assert loaded.sysfs("last_reply") == "2 hello world"


@on_one_kernel
@pytest.mark.parametrize("where", PLACES)
def test_locked_instructions_of_several_cpus(loaded: Machine, where: str) -> None:
    """QEMU 7.2 reports them if only writes are watched: the helper's compare-exchange is one."""
    for words, code in ((), sound(loaded)), (("--writes",), 0):
        with PLACES[where](loaded, "--kind", "umh_shm", "--field", "state", *words) as one:
            loaded.guest.check("sh", "-c", "echo 1 > /sys/class/misc/umh_shm/health")
            (*events, end) = one.end()
            assert one.code() == code, end
        assert end["findings"] == []
        writes = [one["after"] for one in kinds(events, "event") if one["access"] == "write"]
        if code == 0:
            assert writes == ["POSTED", "CLAIMED", "DONE", "IDLE"]
        else:
            assert writes == ["POSTED", "DONE", "IDLE"]


@on_one_kernel
def test_without_an_access_nothing_is_decided(loaded: Machine) -> None:
    with Outside(loaded, "--kind", "umh_shm", "--field", "id", "--seconds", "2") as one:
        one.await_end()
        assert one.code() == 3
        assert one.records()[-1]["events"] == 0
    assert "  3  there was no access" in EPILOG


@on_one_kernel
def test_a_mapping_that_appears_later(machine: Machine) -> None:
    machine.load(allow_any=True)
    with Outside(machine, "--kind", "umh_shm", "--field", "id") as one:
        late = machine.map("--pages", "1")
        deadline = time.monotonic() + START_SECONDS
        while not (found := kinds(one.records(), "place")):
            assert time.monotonic() < deadline, one.said()
            time.sleep(0.2)
        assert {place["pid"] for place in found} == {late["pid"]}
        assert all(place["since_seconds"] > 0 for place in found)
        one.end()
    machine.end_mappers()


@on_one_kernel
def test_sampling(counting: Machine) -> None:
    """The first write of a process makes its entry dirty."""
    started = counting.start("shares_counter", "--rounds", "4")
    pid = started["pid"]
    try:
        with Outside(counting, "--device", DEVICE, "--pid", str(pid), "--sample") as one:
            begin(counting, pid)
            await_done(counting, pid)
            (start, *events, end) = one.end()
            assert one.code() == 3  # it never sees everything
    finally:
        counting.end_group(pid)
    assert start["how"] == "sample"
    (user,) = (place["number"] for place in start["places"] if place["side"] == "user")
    seen = [(one["place"], one["access"], one["pid"]) for one in events if one["record"] == "event"]
    assert (user, "write", pid) in seen
    assert end["findings"] == []


@on_one_kernel
def test_ways_to_name_a_frame(loaded: Machine) -> None:
    pid, address = loaded.helper_address()
    (frame,) = loaded.pfns()
    ways = (
        ("--frame", f"{frame:x}"),
        ("--kernel", "umh_shm_region.kaddr"),
        ("--pid", pid, "--user", address),
        ("--pid", pid, "--kind", "umh_shm", "--page", "0"),
    )
    for way in ways:
        with Outside(loaded, *way, "--offset", "0", "--length", "4", "--seconds", "1") as one:
            one.await_end()
            (start, *_) = one.records()
        assert number(start["pfn"]) == frame
        assert [field["name"] for field in start["fields"]] == ["bytes 0 to 3"]
        users = {place["pid"] for place in start["places"] if place["side"] == "user"}
        assert users == {int(pid)}


@on_one_kernel
def test_a_variable_in_the_middle_of_a_page(loaded: Machine) -> None:
    """The type begins at the variable."""
    words = "--kernel", "init_uts_ns", "--type", "struct uts_namespace", "--field", "sysname[0:8]"
    with Outside(loaded, *words) as one:
        loaded.guest.check("uname", "-s")
        (start, *events, _) = one.end()
    assert {place["side"] for place in start["places"]} == {"kernel"}
    seen = [event for event in events if event["record"] == "event"]
    assert seen and {event["after"] for event in seen} == {'"Linux"'}


@on_one_kernel
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--kind", "umh_shm"), 2, "watching a guest needs QEMU's gdb stub"),
        (("--kind", "umh_shm", "--sample", "--page", "7"), 2, "the region has 1 pages, from 0"),
        # Another test may have shared rings in this guest, but not with init.
        (
            ("--kind", "io_uring", "--pid", "1", "--sample"),
            3,
            "pid 1 does not map a region of io_uring",
        ),
        (("--frame", "fee00", "--sample"), 2, "this frame is not RAM"),
        (("--frame", "fffffffffff", "--sample"), 2, "there is no such frame"),
        (("--kernel", "0", "--sample"), 2, "not a kernel address"),
    ],
)
def test_what_cannot_be_watched(
    loaded: Machine, words: tuple[str, ...], code: int, said: str
) -> None:
    result = loaded.outside("watch", *words)
    assert (result.code, result.out) == (code, ""), result.out + result.err
    assert said in result.err

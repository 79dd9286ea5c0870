# SPDX-License-Identifier: GPL-2.0-or-later
"""Sides that break the protocol of a slot are found and named; sides that keep to it are not."""

import time

import pytest
from machine import START_SECONDS, Json, Machine, Region, each_kernel_with_one_cpu
from watchcommand import Outside, program

SLOTS = ("--device", "/dev/shares_slots", "--type", "struct umh_shm_slot")
#: Mode of tests/vm/shares_slots.c -> each kind of wrong access: function, member, verb, state.
WRONG: dict[str, set[tuple[str, str, str, str]]] = {
    "sound": set(),
    "rogue": {("slots_rogue", "rztee_kreq.payload", "writes", "IDLE")},
    "early-done": {
        *(("slots_reply", name, "reads", "DONE") for name in ("seq", "payload_len")),
        ("slots_reply", "rztee_kreq.payload", "reads", "DONE"),
        *(("slots_reply", name, "writes", "DONE") for name in ("ack", "reply_len", "reply")),
    },
    "early-post": {
        ("slots_write_request", name, "writes", "POSTED")
        for name in ("rztee_kreq.id", "rztee_kreq.payload", "rztee_kreq.pl_hash")
    }
    | {("slots_write_request", name, "writes", "POSTED") for name in ("seq", "payload_len")},
    "meddle": {("slots_meddle", "rztee_kreq.payload", "writes", "CLAIMED")},
}


@pytest.fixture(scope="module")
def slotted(machine: Machine) -> Machine:
    machine.load_test_module("shares_slots")
    return machine


def await_file(machine: Machine, path: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while machine.guest.run("test", "-e", path).code:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def watched(machine: Machine, mode: str, *words: str) -> tuple[int, list[Json]]:
    """Watch a slot while its sides make requests; return the exit code and the records."""
    machine.guest.check("rm", "-f", "/run/started.json.done")
    pid = machine.start("shares_slots", mode)["pid"]
    try:
        symbols = "--program", program(machine, "shares_slots")
        with Outside(machine, *SLOTS, "--pid", str(pid), *symbols, *words) as one:
            machine.guest.check("kill", "-s", "USR1", str(pid))
            await_file(machine, "/run/started.json.done")
            records = one.end()
            return one.code(), records
    finally:
        machine.end_group(pid)


def wrong_of(records: list[Json]) -> set[tuple[str, str, str, str]]:
    """Return (function, member, verb, state) of each finding."""
    found = set()
    for one in records[-1]["findings"]:
        assert (one["id"], one["severity"]) == ("unsynchronized-access", "error")
        access, _, rest = one["sentence"].partition(" while the state is ")
        *_, verb, member = access.split()
        function = dict(one["evidence"])["code"].partition("+")[0]
        found.add((function, member, verb, rest.partition(":")[0]))
    return found


@each_kernel_with_one_cpu
@pytest.mark.parametrize("mode", WRONG)
def test_each_breach_is_found_and_named(slotted: Machine, mode: str) -> None:
    code, records = watched(slotted, mode)
    assert wrong_of(records) == WRONG[mode]
    assert code == (1 if WRONG[mode] else 0), records[-1]
    marked = [one for one in records if one["record"] == "event" and one["wrong"]]
    assert bool(marked) == bool(WRONG[mode])


@each_kernel_with_one_cpu
def test_the_evidence_is_complete(slotted: Machine) -> None:
    _, records = watched(slotted, "meddle")
    (one,) = records[-1]["findings"]
    evidence = dict(one["evidence"])
    assert evidence["access"] == '"hello" -> "Hello"'
    assert evidence["code"].split()[1] == "shares_slots"
    assert evidence["last of user mode"].startswith("write of state: POSTED -> CLAIMED, by slots_")
    assert evidence["times"] == "5"
    assert one["sentence"].startswith("shares_slots (pid ")


@each_kernel_with_one_cpu
@pytest.mark.parametrize(("mode", "found"), [("sound", False), ("rogue", True), ("meddle", True)])
def test_an_owner_that_the_user_gives(slotted: Machine, mode: str, found: bool) -> None:
    """Without the module's own rule: an expression says who may write."""
    owner = "kernel if state in (0, 3) else user"
    fields = ("--field", "payload", "--field", "state")
    code, records = watched(slotted, mode, *fields, "--owner", owner)
    assert bool(records[-1]["findings"]) == found
    assert code == (1 if found else 0)


@each_kernel_with_one_cpu
def test_sound_traffic_has_no_finding(machine: Machine) -> None:
    """Requests of several threads, while the helper is killed and launched again."""
    machine.load(Region("kzalloc", "remap", 1))
    bench = "/sys/kernel/debug/umh_shm/bench"
    names = "id", "payload[0:8]", "state", "seq", "ack", "reply[0:8]"
    fields = [word for name in names for word in ("--field", name)]
    with Outside(machine, "--kind", "umh_shm", *fields) as one:
        for _ in range(3):
            before = machine.sysfs("helper_pid")
            machine.guest.check(
                "sh", "-c", f"echo 5 4 64 > {bench} & sleep 0.3; kill -9 {before}; wait"
            )
            deadline = time.monotonic() + START_SECONDS
            while machine.sysfs("helper_pid") in (before, "0"):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        machine.guest.check("sh", "-c", f"echo 2 4 64 > {bench}")
        (*events, end) = one.end()
    assert end["findings"] == []
    assert end["events"] > 100
    assert {one["pid"] for one in events if one["record"] == "place"}


#: Mode of tests/vm/rogue.c, which never claims a slot -> members that it writes.
ROGUES = {
    "changed-seq": {"seq", "ack", "status", "reply_len", "reply", "reply_hash"},
    # It writes the state too: what comes after that is in no state.
    "fill": {"rztee_kreq.id", "rztee_kreq.payload", "rztee_kreq.pl_hash", "state"},
}


@each_kernel_with_one_cpu
@pytest.mark.parametrize("mode", ROGUES)
def test_a_rogue_helper_of_the_module(machine: Machine, mode: str) -> None:
    machine.unload()
    machine.load(allow_any=True)
    machine.guest.check("sh", "-c", "echo 1 > /sys/class/misc/umh_shm/stop")
    rogue = f"setsid /opt/pageproof/vm/rogue {mode} 600 > /run/rogue.out 2>&1 < /dev/null & echo $!"
    pid = machine.guest.check("sh", "-c", rogue).strip()
    try:
        await_file(machine, "/run/rogue.out")
        deadline = time.monotonic() + START_SECONDS
        while "ready" not in machine.guest.check("cat", "/run/rogue.out"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        with Outside(machine, "--kind", "umh_shm") as one:
            machine.guest.run("sh", "-c", "echo 1 > /sys/class/misc/umh_shm/health")
            records = one.end()
            assert one.code() == 1
    finally:
        machine.guest.run("kill", "-KILL", pid)
        machine.unload()
    found = {one["sentence"] for one in records[-1]["findings"]}
    for name in ROGUES[mode]:
        start = f"rogue (pid {pid}) writes {name} while the state is POSTED: the helper may not"
        assert any(sentence.startswith(start) for sentence in found), (name, found)

# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof watch` as text, JSON lines and JUnit against golden files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from unit.facts import CORE, PAGING
from unit.golden import matches_golden
from unit.schemas import schema

from pageproof.judge.rules.protocol import UNSYNCHRONIZED
from pageproof.model import TargetKind
from pageproof.model.watch import (
    WATCH_SCHEMA,
    Access,
    AccessCount,
    CodePlace,
    Context,
    Event,
    Mode,
    Place,
    WatchedField,
    WatchEnd,
    WatchStart,
)
from pageproof.model.where import in_process
from pageproof.render import Options, Write
from pageproof.render.draw.watch import TextTimeline
from pageproof.render.junit.watch import JUnitTimeline
from pageproof.render.linesform import JsonTimeline

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "watch"
PFN = 0x2157
KERNEL_AT, USER_AT = 0xFFFF888002157000, 0x7F3B5E6C1000
MM, ROOT = 0xFFFF88800213A000, 0x2138000
PLACES = (
    Place(0, 0, KERNEL_AT, 4, PFN << 12, Mode.KERNEL, "physmap"),
    Place(1, 0, USER_AT, 4, PFN << 12, Mode.USER, "", 182, "umh_shm_helper", MM, (ROOT,)),
    Place(2, 1, KERNEL_AT + 4, 1024, (PFN << 12) + 4, Mode.KERNEL, "physmap"),
    Place(
        3, 1, USER_AT + 4, 1024, (PFN << 12) + 4, Mode.USER, "", 182, "umh_shm_helper", MM, (ROOT,),
        refused="QEMU refuses it (E22): choose a narrower field (--field)",
    ),
)  # fmt: skip
START = WatchStart(
    schema=WATCH_SCHEMA,
    version="1.0",
    target=replace(CORE, kind=TargetKind.QEMU, where="/run/qmp.sock", format="qmp", live=True),
    paging=PAGING,
    how="gdb",
    pfn=PFN,
    fields=(
        WatchedField("rztee_kreq.id", 0, 4, "__u32"),
        WatchedField("rztee_kreq.payload", 4, 1024, "char [1024]"),
    ),
    places=PLACES,
    notes=("the protocol is not checked: add --field state",),
)
POST = CodePlace(0xFFFFFFFFC0201234, "umh_shm_proto_request+0x1a4", "umh_shm", "proto.c:209")
SERVE = CodePlace(0x401A2B, "serve+0x3b", "umh_shm_helper", "umh_shm_helper.c:140")
EVENTS = (
    Event(
        1, 0.001204, 1, 0, Access.WRITE, Mode.KERNEL, Context.TASK, 210, 210, "sh", "0", "2",
        "IDLE", POST, (CodePlace(0xFFFFFFFFC0201300, "health_store+0x40", "umh_shm"),),
    ),
    Event(
        2, 0.001633, 1, 2, Access.WRITE, Mode.KERNEL, Context.HARDIRQ, 210, 210, "s\x1bh", '""',
        '"hello"', "IDLE", CodePlace(0xFFFFFFFF81234567),
    ),
    Event(
        3, 0.002871, 0, 1, Access.READ, Mode.USER, Context.TASK, 182, 182, "umh_shm_helper", "2",
        "2", "CLAIMED", SERVE,
    ),
    Event(
        4, 0.003, 0, 1, Access.WRITE, Mode.KERNEL, Context.TASK, 182, 182, "umh_shm_helper", "2",
        "9", "CLAIMED", CodePlace(0xFFFFFFFF81A0, "copy_to_user+0x8"),
        wrong="the helper may not write it then",
    ),
)  # fmt: skip
FINDING = UNSYNCHRONIZED.finding(
    in_process(182, USER_AT),
    (("access", "2 -> 9"), ("times", "1")),
    who="umh_shm_helper (pid 182)",
    what="writes rztee_kreq.id",
    state="CLAIMED",
    why="the helper may not write it then",
)
END = WatchEnd(
    seconds=2.5,
    events=4,
    lost=1,
    missed=1,
    why="interrupted",
    notes=("the guest is still stopped: QMP cont resumes it",),
    counts=(
        AccessCount(0, Mode.KERNEL, Access.WRITE, "umh_shm_proto_request", 1),
        AccessCount(0, Mode.USER, Access.READ, "serve", 1),
        AccessCount(1, Mode.KERNEL, Access.WRITE, "", 1),
    ),
    findings=(FINDING,),
    exit_code=1,
)
SOUND = replace(END, lost=0, missed=0, notes=(), findings=(), exit_code=0, why="4 events")
LATER = replace(PLACES[1], number=4, address=0x7FFF00001000, pid=300, comm="mapper")


def written(make: Callable[[Write], TextTimeline | JsonTimeline | JUnitTimeline]) -> str:
    out = io.StringIO()
    one = make(out.write)
    one.start(START)
    for event in EVENTS[:2]:
        one.event(event)
    one.place(replace(LATER, since_seconds=0.0025))
    for event in EVENTS[2:]:
        one.event(event)
    one.end(END)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("watch.txt", Options()),
        ("watch-80.txt", Options(width=80)),
        ("watch-verbose.txt", Options(verbose=True)),
    ],
)
def test_text(name: str, options: Options) -> None:
    matches_golden(GOLDEN / name, written(lambda write: TextTimeline(write, options)))


def test_what_says_the_same_is_summed_up() -> None:
    out = io.StringIO()
    one = TextTimeline(out.write, Options())
    one.start(START)
    first = out.tell()
    read, changed = EVENTS[2], EVENTS[0]
    for event in (read, read, read, changed, changed, read, replace(read, wrong="no"), read):
        one.event(event)
    one.end(SOUND)
    text = out.getvalue()[first:].partition("accesses")[0]
    assert text.count("reads rztee_kreq.id: 2") == 4
    assert text.count("writes rztee_kreq.id: 0 -> 2") == 2
    assert text.count("… 2 more of these") == 1
    assert text.count("more of these") == 1


def test_json_lines() -> None:
    text = written(JsonTimeline)
    matches_golden(GOLDEN / "watch.json", text)
    validator = jsonschema.Draft202012Validator(schema("watch-1.json"))
    records = [json.loads(line) for line in text.splitlines()]
    assert [one["record"] for one in records] == [
        "start", "event", "event", "place", "event", "event", "end",
    ]  # fmt: skip
    for one in records:
        validator.validate(one)
        for key in one:
            with pytest.raises(jsonschema.ValidationError):
                validator.validate({k: v for k, v in one.items() if k != key})


def test_junit() -> None:
    xml = written(lambda write: JUnitTimeline(write, UNSYNCHRONIZED.id))
    matches_golden(GOLDEN / "watch.xml", xml)


def test_junit_of_a_sound_watch() -> None:
    out = io.StringIO()
    one = JUnitTimeline(out.write, UNSYNCHRONIZED.id)
    one.start(replace(START, places=PLACES[:2]))
    one.end(SOUND)
    assert 'failures="0" errors="0"' in out.getvalue()

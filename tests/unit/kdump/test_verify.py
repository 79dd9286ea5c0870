# SPDX-License-Identifier: GPL-2.0-or-later
"""``kdump verify``: headers of dumps that are made here, and checks on hand-made facts."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from unit.attach.test_dumpfile import elf, flattened, kdump, written
from unit.auditfacts import SOUND
from unit.kdump.machines import kcore

from pageproof.attach.formats import Form
from pageproof.errors import Exit, PageproofError
from pageproof.files.elfnotes import vmcoreinfo_note
from pageproof.model.auditfacts import AuditFacts, FrameClass, Need
from pageproof.model.kdump import Checked, State
from pageproof_kdump.verify import headers, memory
from pageproof_kdump.verify.command import verify_dump
from pageproof_kdump.verify.facts import DumpFacts
from pageproof_kdump.verify.head import Head, read_head

INFO = b"OSRELEASE=7.2.12\nBUILD-ID=abcd\nOFFSET(page.compound_info)=8\n"
SLAB, TABLE = int(FrameClass.SLAB), int(FrameClass.TABLE)


def with_info(dump: bytearray) -> bytearray:
    """Give a kdump-compressed dump a VMCOREINFO, in the block of its sub header."""
    at = 4096 + 1024
    dump[at : at + len(INFO)] = INFO
    struct.pack_into("<QQ", dump, 4096 + 32, at, len(INFO))
    return dump


@pytest.mark.parametrize("flat", [False, True])
def test_headers_of_a_compressed_dump(tmp_path: Path, flat: bool) -> None:
    dump = with_info(kdump(5, zeros=True))
    head = read_head(written(tmp_path, flattened(dump) if flat else dump))
    assert (head.form, head.inner) == (Form.FLATTENED if flat else Form.KDUMP, Form.KDUMP)
    assert (head.level, head.is_incomplete, head.asked) == (31, False, "zlib")
    assert head.pages == {"zeros": 2, "lzo": 3}
    assert head.bitmap is not None
    assert head.bitmap[:2] == b"\x1f\0"
    assert head.value("OSRELEASE") == "7.2.12"
    assert head.value("RELEASE") == ""


def test_a_part_of_a_split_dump(tmp_path: Path) -> None:
    report = verify_dump([written(tmp_path, kdump(5, part=(1, 4)))], (), None, print)
    found = {one.id: one for one in report.checks}["complete"]
    assert (found.state, "--split" in found.remedy) == (State.BAD, True)


def test_several_files_that_are_no_parts(tmp_path: Path) -> None:
    dump = written(tmp_path, kdump(5))
    with pytest.raises(PageproofError, match="not all are parts"):
        verify_dump([dump, dump], (), None, print)


def test_headers_of_an_elf_dump(tmp_path: Path) -> None:
    head = read_head(written(tmp_path, kcore(INFO.decode())))
    assert (head.form, head.level, head.bitmap, head.is_incomplete) == (Form.ELF, None, None, False)
    assert head.value("BUILD-ID") == "abcd"
    marked = bytearray(elf([(0, 4096, 4096)]))
    struct.pack_into("<I", marked, 48, 1)
    assert read_head(written(tmp_path, marked)).is_incomplete


@pytest.mark.parametrize("at", [412, 424, 428, 432, 436, 4096, 4104, 4128, 4136])
@pytest.mark.parametrize("value", [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_headers_that_lie(tmp_path: Path, at: int, value: int) -> None:
    """They end in a report, whatever is in them."""
    dump = with_info(kdump(5))
    struct.pack_into("<I", dump, at, value)
    report = verify_dump([written(tmp_path, dump)], (), None, print)
    assert report.exit_code in (Exit.WRONG, Exit.UNDECIDED)
    assert not any("the check failed" in one.found for one in report.checks)


@pytest.mark.parametrize("length", [100, 464, 4100, 8200, 20_000])
@pytest.mark.parametrize("flat", [False, True])
def test_dumps_that_are_cut(tmp_path: Path, flat: bool, length: int) -> None:
    dump = with_info(kdump(200))
    data = flattened(dump) if flat else bytes(dump)
    report = verify_dump([written(tmp_path, data[:length])], (), None, print)
    states = {one.id: one.state for one in report.checks}
    assert (states["complete"], report.exit_code) == (State.BAD, Exit.WRONG)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"hello\n", "neither an ELF core"), (b"\x1f\x8b" + bytes(9), "gzip"), (b"", "neither")],
)
def test_files_that_are_no_dumps(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(PageproofError, match=words) as caught:
        read_head(written(tmp_path, data))
    assert caught.value.exit_code == Exit.USAGE


def note_of(data: bytes | bytearray) -> str | None:
    return vmcoreinfo_note(lambda at, length: bytes(data[at : at + length]))


def test_notes_that_lie() -> None:
    whole = kcore("x=1\n")
    assert note_of(whole) == "x=1\n"
    for at in range(32, 64 + 112 + 40, 4):
        for value in (0, 0xFFFF, 0xFFFF_FFFF):
            data = bytearray(whole)
            struct.pack_into("<I", data, at, value)
            assert note_of(data) in (None, "", "x=1\n")


def given(
    audit: AuditFacts | None = None,
    *,
    has: frozenset[int] = frozenset(range(16)),
    form: Form = Form.KDUMP,
    level: int | None = 31,
    damage: str = "",
    info: bytes = INFO,
) -> DumpFacts:
    """Return facts without a dump."""
    head = Head(Path("vmcore"), form, form, 4096, level=level, vmcoreinfo=info.decode())
    found: Any = DumpFacts(head, None, damage, (), print)
    found.__dict__["audit"] = audit
    found.__dict__["has_page"] = has.__contains__
    return cast(DumpFacts, found)


def classes(**which: int) -> AuditFacts:
    """Return facts with the classes of 16 frames."""
    data = bytearray(16)
    for name, bits in which.items():
        data[int(name.removeprefix("pfn"))] = bits
    return replace(SOUND, classes=bytes(data))


def test_every_slab_page_is_there() -> None:
    found = memory.slab(given(classes(pfn3=SLAB, pfn4=SLAB | int(FrameClass.TAIL), pfn5=TABLE)))
    assert (found.state, "all 2 slab pages" in found.found) == (State.OK, True)


def test_a_slab_page_is_missing() -> None:
    audit = classes(pfn3=SLAB, pfn4=SLAB)
    found = memory.slab(given(audit, has=frozenset({3})))
    assert found.state is State.BAD
    assert "1 of 2 slab pages" in found.found
    assert "-d 23" in found.remedy
    assert dict(found.facts)["first frames"] == "0x4"
    # Without the key, or without bit 8, the level is not what lost it.
    for facts in (
        given(audit, has=frozenset({3}), info=b"OSRELEASE=6.1\n"),
        given(audit, has=frozenset({3}), level=23),
    ):
        found = memory.slab(facts)
        assert (found.state, "-d 23" in found.remedy) == (State.BAD, False)


def test_zeros_in_an_elf_dump() -> None:
    audit = classes(pfn3=SLAB)
    for level, state in ((None, State.UNKNOWN), (31, State.UNKNOWN), (30, State.BAD)):
        facts = given(audit, has=frozenset(), form=Form.ELF, level=level)
        assert memory.slab(facts).state is state
    assert memory.slab(given(audit, form=Form.ELF)).state is State.OK


def test_page_tables_are_looked_up_too() -> None:
    audit = classes(pfn3=SLAB, pfn5=TABLE)
    assert memory.tables(given(audit)).state is State.OK
    assert memory.tables(given(audit, has=frozenset({3}))).state is State.BAD


def test_nothing_is_known_about_frames() -> None:
    audit = replace(SOUND, classes=None, missing={Need.FRAMES: "no vmemmap"})
    found = memory.slab(given(audit))
    assert (found.state, "no vmemmap" in found.found) == (State.UNKNOWN, True)
    assert memory.slab(given(classes())).state is State.UNKNOWN


def test_tables_that_cannot_be_read() -> None:
    assert memory.kernel_tables(given(SOUND)).state is State.OK
    assert memory.task_tables(given(SOUND)).state is State.OK
    lost = replace(SOUND, missing={Need.KERNEL: "0x1000 was left out of the dump"})
    assert memory.kernel_tables(given(lost)).state is State.BAD
    assert memory.kernel_tables(given(lost, form=Form.ELF)).state is State.UNKNOWN
    torn = replace(SOUND, missing={Need.KERNEL: "0x1000 is beyond the end of memory"})
    assert memory.kernel_tables(given(torn, form=Form.ELF)).state is State.BAD
    assert SOUND.users is not None
    users = replace(SOUND.users, faults=("pid 1 (init): Excluded page",))
    found = memory.task_tables(given(replace(SOUND, users=users)))
    assert (found.state, "pid 1 (init)" in found.found) == (State.BAD, True)
    (space, *_) = SOUND.users.spaces
    gap = replace(SOUND.users, spaces=(replace(space, gap="some of its tables cannot be read"),))
    assert memory.task_tables(given(replace(SOUND, users=gap))).state is State.BAD
    assert memory.task_tables(given(replace(SOUND, users=gap), form=Form.ELF)).state is (
        State.UNKNOWN
    )
    none = replace(SOUND.users, spaces=())
    assert memory.task_tables(given(replace(SOUND, users=none))).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("release", "package"),
    [
        ("6.12.118+deb13-cloud-amd64", "linux-image-6.12.118+deb13-cloud-amd64-dbg"),
        ("6.8.0-45-generic", "linux-image-unsigned-6.8.0-45-generic-dbgsym"),
        ("5.14.0-503.el9.x86_64", "kernel-debuginfo-5.14.0-503.el9.x86_64"),
        ("7.2.0", "give the vmlinux of Linux 7.2.0 with -s"),
    ],
)
def test_the_package_with_debug_info(release: str, package: str) -> None:
    facts = given(info=f"OSRELEASE={release}\n".encode())
    facts.__dict__["opened"] = PageproofError("no debug info")
    found = headers.debug_info(facts)
    assert (found.state, package in found.remedy) == (State.UNKNOWN, True)


def named(name: str, *, incomplete: bool = False, damage: str = "") -> Checked:
    head = Head(Path(name), Form.KDUMP, Form.KDUMP, 4096, is_incomplete=incomplete)
    return headers.complete(DumpFacts(head, None, damage, (), print))


def test_complete() -> None:
    assert named("vmcore").state is State.OK
    for found in (
        named("vmcore.incomplete"),
        named("dump-incomplete"),
        named("vmcore", incomplete=True),
        named("vmcore", damage="it is cut"),
    ):
        assert found.state is State.BAD

# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of formats: what a file is, what to do with it, and its copy in the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from pageproof.attach.dumpfile import inspect_dump
from pageproof.attach.formats import FORMATS, Form, Format, recognise
from pageproof.errors import Exit, PageproofError

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/targets.md"
WITH_MAGIC = [(one, magic) for one in FORMATS for magic in one.magics]
NOT_READ = [(one, magic) for one, magic in WITH_MAGIC if one.form is None]


def ids(value: object) -> str:
    return value.name if isinstance(value, Format) else repr(value)


def head(one: Format, magic: bytes) -> bytes:
    return (bytes(one.at) + magic).ljust(8192, b"\0")


@pytest.mark.parametrize(("one", "magic"), WITH_MAGIC, ids=ids)
def test_a_magic_is_that_of_one_format(one: Format, magic: bytes) -> None:
    assert recognise(head(one, magic)) is one


def test_what_has_no_magic_is_raw() -> None:
    for data in (b"", bytes(4096), b"\x53\xff\x00\xf0" * 1024, b"EMi", b"\x7fEL"):
        assert recognise(data).form is Form.RAW


@pytest.mark.parametrize(("one", "magic"), NOT_READ, ids=ids)
def test_what_is_not_read(tmp_path: Path, one: Format, magic: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(head(one, magic))
    with pytest.raises(PageproofError) as caught:
        inspect_dump(path)
    assert caught.value.what == f"this is not a dump but {one.name}"
    assert caught.value.remedy == one.remedy != ""
    assert caught.value.exit_code is Exit.USAGE


def table() -> str:
    """Return the table as the document has it."""
    lines = ["| format | written by | |", "|---|---|---|"]
    for one in FORMATS:
        note = one.remedy if one.form is None else f"read{one.remedy and f'; {one.remedy}'}"
        lines.append(f"| {one.name.partition(' ')[2]} | {one.writers} | {note} |")
    return "\n".join(lines)


def test_the_document_has_the_table() -> None:
    assert table() in DOCUMENT.read_text(), f"docs/targets.md needs this table:\n{table()}"

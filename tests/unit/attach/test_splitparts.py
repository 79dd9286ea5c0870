# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of split dumps: which are accepted together, and what they lack; small files made here."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pageproof_pagewalk as engine
import pytest
from unit.attach.test_dumpfile import PAGE, kdump

from pageproof import api, cli
from pageproof.attach.dumpfile import DumpFile, inspect_dump
from pageproof.errors import Exit, PageproofError

EDGES = ((0, 9), (9, 20), (20, 31))


def parts_of(directory: Path, *edges: tuple[int, int], notes: bytes = b"notes") -> list[Path]:
    found = []
    directory.mkdir(exist_ok=True)
    for number, edge in enumerate(edges):
        path = directory / f"part{number}"
        path.write_bytes(kdump(31, part=edge, notes=notes))
        found.append(path)
    return found


def inspect(paths: list[Path]) -> DumpFile:
    return inspect_dump(paths[0], (), paths[1:])


def refused(paths: list[Path]) -> PageproofError:
    with pytest.raises(PageproofError) as caught:
        inspect(paths)
    return caught.value


def test_all_parts_in_any_order(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, *EDGES)
    for some in itertools.permutations(paths):
        dump = inspect(list(some))
        assert [one.path for one in dump.split] == paths
        assert (dump.format, dump.notes, len(dump.kdump)) == ("kdump", (), 3)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ((0,), "frames 0x9 to 0x1e"),
        ((1,), "frames 0x0 to 0x8, 0x14 to 0x1e"),
        ((2, 0), "frames 0x9 to 0x13"),
    ],
)
def test_a_part_is_missing(tmp_path: Path, given: tuple[int, ...], missing: str) -> None:
    paths = parts_of(tmp_path, *EDGES)
    (note,) = inspect([paths[number] for number in given]).notes
    assert missing in note
    assert "-c PART1 -c PART2" in note


def test_a_part_twice_and_parts_that_overlap(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, *EDGES, (19, 31))
    for some in ([paths[1], paths[0], paths[1]], [paths[1], paths[3]]):
        error = refused(some)
        assert "has pages that" in error.what
        assert error.remedy == "give each part once"


@pytest.mark.parametrize("change", [424, 8 + 65, PAGE, PAGE + 8, PAGE + 96, 3 * PAGE])
def test_parts_of_two_dumps(tmp_path: Path, change: int) -> None:
    """Status, a name in utsname, phys_base, level, number of pages, a bit of the bitmap."""
    first, second = parts_of(tmp_path, *EDGES[:2])
    data = bytearray(second.read_bytes())
    data[change] ^= 32 if change == PAGE + 96 else 2 if change < 3 * PAGE else 1
    second.write_bytes(data)
    error = refused([first, second])
    assert error.where == str(second)
    assert "another dump" in error.what or "do not match" in error.what


@pytest.mark.parametrize("edges", [(20, 9), (9, 32), (1 << 60, 1 << 61), (31, 1 << 63)])
def test_a_part_of_pages_that_are_not_there(tmp_path: Path, edges: tuple[int, int]) -> None:
    (path,) = parts_of(tmp_path, (9, 20))
    data = bytearray(path.read_bytes())
    struct.pack_into("<QQ", data, PAGE + 80, *edges)
    path.write_bytes(data)
    assert "it claims to be the part" in refused([path]).what


def test_other_files_among_the_parts(tmp_path: Path) -> None:
    first, second = parts_of(tmp_path, *EDGES[:2])
    whole = tmp_path / "whole"
    whole.write_bytes(kdump(31))
    for some in ([whole, first, second], [first, whole], [whole, whole]):
        error = refused(some)
        assert "not a part of a split dump" in error.what
        assert error.where == str(whole)


def test_parts_without_pages(tmp_path: Path) -> None:
    """makedumpfile 1.7.2 and 1.7.6 wrote such a second part of a guest of 512 MiB."""
    paths = parts_of(tmp_path, (0, 31), (31, 31), (31, 31))
    dump = inspect(paths)
    assert (dump.notes, len(dump.kdump)) == ((), 1)
    error = refused(paths[1:2])
    assert "has no pages" in error.what
    assert "-c PART1 -c PART2" in error.remedy
    assert "no part has a page" in refused(paths[1:]).what


def test_a_cut_part(tmp_path: Path) -> None:
    paths = parts_of(tmp_path, *EDGES)
    paths[1].write_bytes(paths[1].read_bytes()[:-50])
    error = refused(paths)
    assert "the dump is truncated" in error.what
    assert error.where == str(paths[1])


def test_pages_are_those_of_their_part(tmp_path: Path) -> None:
    one = None
    for pages in inspect(parts_of(tmp_path, *EDGES)).kdump:
        one = engine.Kdump(*pages.for_engine(), one)
    assert one is not None
    with pytest.raises(TypeError, match="next must be a Kdump"):
        engine.Kdump(*pages.for_engine(), 7)  # type: ignore[arg-type]


def test_the_command_and_the_function_take_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = parts_of(tmp_path, *EDGES[:2])
    other = parts_of(tmp_path / "other", EDGES[1], notes=b"others")
    second.write_bytes(other[0].read_bytes()[:-1])
    for call in (
        lambda: cli.main(["-c", str(first), "-c", str(second), "verify"]),
        lambda: api.verify(core=[first, str(second)]),
    ):
        try:
            assert call() == Exit.USAGE
            said = capsys.readouterr().err
        except PageproofError as error:
            said = str(error)
        assert "the dump is truncated" in said
        assert str(second) in said
    with pytest.raises(PageproofError, match="and not both"):
        api.verify(qemu=tmp_path / "socket", core=[first])

# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pageproof.errors import PageproofError
from pageproof.files.whole import whole_file


def test_the_old_file_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")
    with whole_file(path) as file:
        file.write("ne")
        assert path.read_text() == "old"
        file.write("w")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, AssertionError])
@pytest.mark.parametrize("old", [None, "old"])
def test_what_is_not_finished_leaves_nothing(
    tmp_path: Path, error: type[BaseException], old: str | None
) -> None:
    path = tmp_path / "report"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error), whole_file(path) as file:
        file.write("half")
        raise error
    assert [one.read_text() for one in tmp_path.iterdir()] == ([] if old is None else [old])


def test_an_interrupt_when_the_file_has_just_been_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def opened(path: Path, flags: int, mode: int) -> int:
        os.close(real(path, flags, mode))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "report"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, *how: str, **options: str) -> object:
        os.close(handle)
        return Path("/dev/full").open("w")

    monkeypatch.setattr(os, "fdopen", full)
    with (
        pytest.raises(PageproofError, match=r"can't write the report: No space left"),
        whole_file(tmp_path / "report") as file,
    ):
        file.write("text")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe) as file:
        file.write("text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]

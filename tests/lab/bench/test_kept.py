# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps that `lab bench --keep` keeps and `--kept` reads."""

from pathlib import Path

import pytest

from pageproof_lab import LabError
from pageproof_lab.bench.kept import Kept, keep, read_kept
from pageproof_lab.bench.mappers import Mapper
from pageproof_lab.bench.scenario import SCENARIOS

SCENARIO = SCENARIOS["buffer"]
KEPT = Kept(
    SCENARIO.group, "6.1.0", "tcg", "/umh_shm.ko", [Mapper("server", 7, 0x1000, 13, 5, 1, 44)]
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "buffer").mkdir()
    keep(tmp_path / "buffer", KEPT)
    (tmp_path / "buffer/elf").touch()
    return tmp_path


def test_kept_and_read(directory: Path) -> None:
    assert read_kept(directory, SCENARIO, "6.1.0") == (KEPT, {"elf": directory / "buffer/elf"})


def test_another_guest(directory: Path) -> None:
    with pytest.raises(LabError, match=r"not of server:48:1:262144 on 6\.12"):
        read_kept(directory, SCENARIO, "6.12")
    with pytest.raises(LabError, match="not of server:3:1:262144 on"):
        read_kept(directory, SCENARIO.smaller(3, None, None), "6.1.0")
    with pytest.raises(LabError, match="No such file or directory; make it with --keep"):
        read_kept(directory, SCENARIOS["vmas"], "6.1.0")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mappers": [1]}', '{"mappers": []}', "\xff"])
def test_damaged(directory: Path, text: str) -> None:
    (directory / "buffer/guest.json").write_text(text, encoding="latin-1")
    with pytest.raises(LabError, match=r"guest.json: damaged \("):
        read_kept(directory, SCENARIO, "6.1.0")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds: all clones of a user share the build directory of a kernel."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pageproof_lab.images import build


def test_one_make_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lab lint` once replaced the sources during the build of another clone."""
    at_work: list[str] = []
    most = 0

    def fresh(kernel: Any, *words: str) -> str:
        nonlocal most
        at_work.append(kernel.name)
        most = max(most, len(at_work))
        time.sleep(0.05)
        at_work.pop()
        return ""

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_make_fresh", fresh)
    kernel: Any = SimpleNamespace(name="6.1")
    with ThreadPoolExecutor(4) as makers:
        list(makers.map(lambda _: build.make(kernel, "sparse"), range(4)))
    assert most == 1

# SPDX-License-Identifier: GPL-2.0-or-later
"""The choice of the accelerator."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pageproof_lab import LabError
from pageproof_lab.guest import qemu


def test_the_probe_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests that boot at the same time on a new machine share one check."""
    asked: list[Path] = []

    def boots(vmlinuz: Path) -> bool:
        asked.append(vmlinuz)
        time.sleep(0.2)
        return True

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(qemu, "KVM", tmp_path)
    monkeypatch.setattr(qemu, "_kvm_boots", boots)
    with ThreadPoolExecutor(4) as guests:
        said = list(guests.map(qemu.accelerator, [Path("vmlinuz")] * 4))
    assert said == ["kvm"] * 4
    assert len(asked) == 1


def test_without_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="qemu-system-x86_64: not installed; `make setup`"):
        qemu.choose(Path("vmlinuz"), qemu.Options())

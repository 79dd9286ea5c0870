# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads with a deadline, made by another process."""

import gc
import os
import time

import pytest

from pageproof.attach import patient as patient_module
from pageproof.attach.patient import PatientReader
from pageproof.model import MemoryGap, Outcome

STUCK, GONE, LACKING = 0x1000, 0x2000, 0x3000


def read(address: int, length: int, physical: bool) -> bytes:
    if address == STUCK:
        time.sleep(600)
    if address == GONE:
        os._exit(3)
    if address == LACKING:
        raise MemoryGap(Outcome.EXCLUDED, "left: out")
    return bytes([address & 0xFF, physical]) * (length // 2)


def test_what_is_read_comes_back() -> None:
    """Also more than the capacity of a pipe."""
    patient = PatientReader(read)
    assert patient.read(7, 4, physical=True) == b"\7\1\7\1"
    assert patient.read(9, 1 << 20, physical=False) == b"\x09\0" * (1 << 19)


def test_a_gap_comes_back() -> None:
    patient = PatientReader(read)
    with pytest.raises(MemoryGap, match="left: out") as caught:
        patient.read(LACKING, 8, physical=True)
    assert caught.value.outcome is Outcome.EXCLUDED
    assert patient.read(7, 2, physical=False) == b"\7\0"


@pytest.mark.parametrize("address", [STUCK, GONE])
def test_no_answer_is_a_gap_and_the_next_read_has_a_child_of_its_own(address: int) -> None:
    start = time.monotonic()
    patient = PatientReader(read, seconds=1)
    with pytest.raises(MemoryGap, match="no answer within 1 s") as caught:
        patient.read(address, 8, physical=True)
    assert caught.value.outcome is Outcome.UNREADABLE
    assert time.monotonic() - start < 60
    assert patient.read(7, 2, physical=True) == b"\7\1"


def test_the_child_goes_with_its_reader_and_leaves_no_zombie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids: list[int] = []
    fork = os.fork

    def noted() -> int:
        pid = fork()
        pids.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(patient_module, "_REAP_SECONDS", 60.0)
    patient = PatientReader(read)
    assert patient.read(7, 2, physical=True) == b"\7\1"
    del patient
    gc.collect()
    (pid,) = pids
    with pytest.raises(ProcessLookupError):  # without a wait there would be a zombie
        os.kill(pid, 0)

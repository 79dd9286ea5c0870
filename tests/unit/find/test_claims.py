# SPDX-License-Identifier: GPL-2.0-or-later
"""Finders whose claims depend on few things are called once for all VMAs that are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import drgn
import pytest

from pageproof.find.bulk.protocol import VmaRecord
from pageproof.find.shared import claims
from pageproof.find.shared.claims import Claims
from pageproof.find.shared.finder import Claim, Finder, UnknownPart

MMS = [0x1000, 0x2000]
VMA = VmaRecord(0, 0x8000, 0x10000, 0x20000, 3, 0xFB, 0, 5, 7, 9)


class Called:
    """A finder's function that counts its calls, by address of the VMA."""

    def __init__(self, result: Callable[[int], Claim | None]) -> None:
        self.vmas: list[int] = []
        self._result = result

    def __call__(self, vma: Any) -> Claim | None:
        self.vmas.append(vma)
        return self._result(vma)


def claim(first_page: int) -> Claim:
    return Claim(0xAB, "struct inode", "", "memfd", 500, first_page)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Claims:
    """Claims of a target whose VMAs are their addresses and do not change."""
    monkeypatch.setattr(Claims, "_object", lambda _self, vma: vma.address)
    monkeypatch.setattr(Claims, "_is_still", lambda _self, vma: True)
    monkeypatch.setattr(claims, "follow", lambda _p, _k, path, mms: {mms[0]: 1, mms[1]: 2})
    prog: Any = SimpleNamespace(type=lambda name: name)
    return Claims(prog, MMS)


def finder(call: Called, *linear: str) -> Finder:
    return Finder("test", "", ("ops",), call, lambda _prog, _claim: (), linear=linear)


def test_one_call_for_all_vmas_of_a_file(made: Claims) -> None:
    call = Called(lambda vma: claim(10))
    one = finder(call, "vm_file", "vm_flags")
    assert made.of(one, 0, VMA) == claim(10)
    for pgoff in (3, 4, 0):
        vma = VMA._replace(address=pgoff, pgoff=pgoff)
        assert made.of(one, 1, vma) == claim(10 + pgoff - 3)
    assert call.vmas == [VMA.address]


@pytest.mark.parametrize(("member", "name"), [("file", "vm_file"), ("vm_flags", "vm_flags")])
def test_another_file_or_flag_is_another_claim(made: Claims, member: str, name: str) -> None:
    call = Called(lambda vma: claim(vma))
    one = finder(call, name)
    other = VMA._replace(address=4, **{member: 1})
    assert made.of(one, 0, VMA) == claim(VMA.address)
    assert made.of(one, 0, other) == claim(4)
    assert made.of(one, 0, VMA._replace(address=6)) == claim(VMA.address)
    assert call.vmas == [VMA.address, 4]


def test_a_finder_that_is_not_linear_is_called_for_each_vma(made: Claims) -> None:
    call = Called(lambda vma: claim(1))
    for _ in range(3):
        assert made.of(finder(call), 0, VMA) == claim(1)
    assert len(call.vmas) == 3


def test_what_depends_on_the_address_space(made: Claims) -> None:
    call = Called(lambda vma: claim(1))
    one = finder(call, "vm_private_data", "vm_mm.context.vdso_image")
    for number in (0, 1, 0, 1):
        made.of(one, number, VMA._replace(address=number))
    assert call.vmas == [0, 1]


def test_an_address_space_that_cannot_be_read(
    made: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is known to be alike."""
    monkeypatch.setattr(claims, "follow", lambda _p, _k, path, mms: {mms[0]: 1})
    call = Called(lambda vma: claim(1))
    one = finder(call, "vm_mm.context.vdso_image")
    for number in (0, 1, 0, 1):
        made.of(one, number, VMA._replace(address=number))
    assert call.vmas == [0, 1, 1]


def test_a_kernel_without_the_member(made: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> dict[int, int]:
        raise LookupError

    monkeypatch.setattr(claims, "follow", none)
    call = Called(lambda vma: claim(1))
    for _ in range(2):
        made.of(finder(call, "vm_mm.owner.nsproxy"), 0, VMA)
    assert len(call.vmas) == 2


def test_a_vma_that_changed_decides_nothing(made: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory may be another VMA by the time the finder reads it."""
    monkeypatch.setattr(Claims, "_is_still", lambda _self, vma: vma.address != VMA.address)
    call = Called(lambda vma: claim(1))
    one = finder(call, "vm_file")
    for address in (VMA.address, 2, 4, 6):
        made.of(one, 0, VMA._replace(address=address))
    assert call.vmas == [VMA.address, 2]


def test_results_that_are_no_claim_hold_for_all(made: Claims) -> None:
    def part(_: int) -> Claim | None:
        raise UnknownPart("a ring")

    unknown, none = Called(part), Called(lambda vma: None)
    by_file, by_ops = finder(none, "vm_file"), replace(finder(unknown, "vm_ops"), kind="other")
    for address in (2, 4):
        vma = VMA._replace(address=address, pgoff=address)
        assert made.of(by_file, 0, vma) is None
        with pytest.raises(UnknownPart, match="a ring"):
            made.of(by_ops, 0, vma)
    assert (none.vmas, unknown.vmas) == ([2], [2])


def test_an_error_is_not_remembered(made: Claims) -> None:
    """On a live target the next attempt may succeed."""

    def broken(vma: int) -> Claim | None:
        if vma == 2:
            raise drgn.FaultError("address is not mapped", vma)
        return claim(1)

    call = Called(broken)
    one = finder(call, "vm_file")
    with pytest.raises(drgn.FaultError):
        made.of(one, 0, VMA._replace(address=2))
    assert made.of(one, 0, VMA._replace(address=4)) == claim(1)
    assert call.vmas == [2, 4]


def test_a_finder_that_names_something_else() -> None:
    with pytest.raises(ValueError, match="'vm_pgoff' is not what a claim can depend on"):
        finder(Called(lambda vma: None), "vm_file", "vm_pgoff")

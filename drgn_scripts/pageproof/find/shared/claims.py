# SPDX-License-Identifier: GPL-2.0-or-later
"""Calling the finders: once for each VMA, or once for all VMAs whose claims follow from one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

import drgn

from pageproof.find.bulk.follow import follow
from pageproof.find.bulk.protocol import VmaRecord
from pageproof.find.kernel.modules import load_when_missed
from pageproof.find.shared.finder import LINEAR_MEMBERS, LINEAR_MM, Claim, Finder, UnknownPart

#: Errors of a finder: memory that changes, or an unknown layout.
BROKEN: Final = (drgn.FaultError, LookupError, AttributeError, TypeError, ValueError)

_Result = Claim | UnknownPart | None


class _Known:
    """The result of a finder for one VMA, and what follows for VMAs that are alike.

    Args:
        result: the finder's.
        pgoff: vm_pgoff of the VMA.
    """

    def __init__(self, result: _Result, pgoff: int) -> None:
        self._result, self._pgoff = result, pgoff
        self._claims: dict[int, Claim] = {}

    def claim(self, pgoff: int) -> Claim | None:
        """Return the claim of a VMA with this vm_pgoff.

        Raises:
            UnknownPart: the finder does not know this part.
        """
        claim = self._claims.get(pgoff)
        if claim is None:
            if self._result is None:
                return None
            if isinstance(self._result, UnknownPart):
                raise UnknownPart(*self._result.args)
            first_page = self._result.first_page + pgoff - self._pgoff
            claim = self._claims[pgoff] = replace(self._result, first_page=first_page)
        return claim


class _Alike:
    """The claims of one finder that decide those of VMAs that are alike.

    Args:
        members: of VmaRecord.
        of_mms: the values of paths in ``struct mm_struct``, by number of the mm; None if they
            cannot be read.

    Attributes:
        known: the result for one of them.
    """

    def __init__(self, members: Sequence[str], of_mms: Sequence[Hashable | None]) -> None:
        self._of_vma = attrgetter(*members) if members else None
        self._of_mms = of_mms
        self.known: dict[Hashable, _Known] = {}

    def key(self, number: int, vma: VmaRecord) -> Hashable | None:
        """Return what the claim for a VMA depends on; None if that is not known."""
        of_mm = self._of_mms[number]
        if of_mm is None:
            return None
        return of_mm, self._of_vma(vma) if self._of_vma else None


class Claims:
    """The claims of one look.

    Args:
        prog: the target.
        mms: addresses of the address spaces, by their number.
    """

    def __init__(self, prog: drgn.Program, mms: Sequence[int]) -> None:
        self._prog, self._mms = prog, mms
        self._kind = prog.type("struct vm_area_struct *")
        #: By kind of finder; None if it is to be called for each VMA.
        self._alike: dict[str, _Alike | None] = {}

    def of(self, finder: Finder, number: int, vma: VmaRecord) -> Claim | None:
        """Return a finder's claim.

        Args:
            finder: the finder.
            number: of the address space.
            vma: its VMA.

        Raises:
            UnknownPart: the finder does not know this part.
            FaultError, LookupError, AttributeError, TypeError, ValueError: it cannot be read.
        """
        alike = self._alike.get(finder.kind)
        if alike is None and finder.kind not in self._alike:
            alike = self._alike[finder.kind] = self._made(finder) if finder.linear else None
        key = None if alike is None else alike.key(number, vma)
        if alike is None or key is None:
            return claim_of(finder, self._object(vma))
        known = alike.known.get(key)
        if known is None:
            known = _Known(self._called(finder, vma), vma.pgoff)
            if self._is_still(vma):
                alike.known[key] = known
        return known.claim(vma.pgoff)

    def _object(self, vma: VmaRecord) -> drgn.Object:
        return drgn.Object(self._prog, self._kind, vma.address)

    def _called(self, finder: Finder, vma: VmaRecord) -> _Result:
        try:
            return claim_of(finder, self._object(vma))
        except UnknownPart as part:
            return part

    def _made(self, finder: Finder) -> _Alike | None:
        inside = [one.removeprefix(LINEAR_MM) for one in finder.linear if one.startswith(LINEAR_MM)]
        members = [LINEAR_MEMBERS[one] for one in finder.linear if one in LINEAR_MEMBERS]
        try:
            values = [follow(self._prog, "struct mm_struct", path, self._mms) for path in inside]
        except LookupError:
            return None  # this kernel has no such member
        return _Alike(members, [_values_of(values, mm) for mm in self._mms])

    def _is_still(self, vma: VmaRecord) -> bool:
        """Return whether a VMA is what its record says, after the finder has read it."""
        try:
            now = self._object(vma)[0].read_()
            return bool(
                now.vm_pgoff.value_() == vma.pgoff
                and now.vm_file.value_() == vma.file
                and now.vm_flags.value_() == vma.vm_flags
                and now.vm_private_data.value_() == vma.private_data
            )
        except drgn.FaultError:
            return False


def _values_of(values: Sequence[Mapping[int, int]], mm: int) -> tuple[int, ...] | None:
    found = tuple(one[mm] for one in values if mm in one)
    return found if len(found) == len(values) else None


def claim_of(finder: Finder, vma: drgn.Object) -> Claim | None:
    """Return a finder's claim. If a type is missing, load its module's debug info and retry."""
    try:
        return finder.claim(vma)
    except LookupError:
        if not finder.module or not load_when_missed(vma.prog_, finder.module):
            raise
    return finder.claim(vma)

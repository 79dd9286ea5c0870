# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for the code and values of ``watch``'s events."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import drgn

from pageproof.attach import Target
from pageproof.commands.watchfields import Fields
from pageproof.errors import PageproofError
from pageproof.find.kernel.code import kernel_code
from pageproof.find.process.mappings import address_space
from pageproof.find.process.usercode import Programs, opened_file
from pageproof.model import GAPS, MappingFacts, PagingFacts, TargetKind, VmaFacts
from pageproof.model.watch import CodePlace
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof.watch.decode import Words


class _UserCode:
    """Names code of processes."""

    def __init__(
        self, target: Target, paging: PagingFacts, walker: Walker, files: tuple[Path, ...]
    ) -> None:
        self._target, self._paging, self._walker = target, paging, walker
        platform = target.prog.platform
        assert platform is not None
        here = target.facts.kind is TargetKind.LIVE
        self._programs = Programs(platform, files, opened_file if here else _nowhere)
        self._spaces: dict[int, tuple[MappingFacts, tuple[VmaFacts, ...]]] = {}

    def __call__(self, pid: int, pc: int) -> CodePlace:
        for fresh in (False, True):
            try:
                space, vmas = self._space(pid, fresh=fresh)
            except PageproofError:  # it has ended
                return CodePlace(pc)
            if any(one.start <= pc - 1 < one.end for one in vmas):
                read = partial(self._read, space)
                return self._programs.code(pid, space.mm, pc, vmas, read)
        return CodePlace(pc)

    def _space(self, pid: int, *, fresh: bool) -> tuple[MappingFacts, tuple[VmaFacts, ...]]:
        if fresh or pid not in self._spaces:
            space, mappings, _ = address_space(self._target.prog, self._paging, pid)
            vmas = tuple(one.vma for one in mappings if one.vma is not None)
            self._spaces[pid] = space, vmas
        return self._spaces[pid]

    def _read(self, space: MappingFacts, address: int, length: int) -> bytes | None:
        data = b""
        while length:
            part = min(length, PAGE_BYTES - address % PAGE_BYTES)
            walk = self._walker.walk(space.root, address)
            if walk.paddr is None or walk.outcome in GAPS:
                return None
            try:
                data += self._target.reader.read_physical(walk.paddr, part)
            except drgn.FaultError:
                return None
            address, length = address + part, length - part
        return data


def _nowhere(pid: int, vma: VmaFacts) -> None:
    return None


def words_of(
    target: Target,
    paging: PagingFacts,
    walker: Walker,
    fields: Fields,
    programs: tuple[Path, ...],
) -> Words:
    """Return how hits are put into words."""

    def value(number: int, data: bytes) -> str:
        return fields.words.words(fields.members[number], data)

    def state(page: bytes) -> str:
        try:
            return "" if fields.state is None else fields.state(page)
        except PageproofError:  # an expression that does not work for each content
            return ""

    return Words(
        value=value,
        kernel_code=lambda pc: kernel_code(target.prog, pc),
        user_code=_UserCode(target, paging, walker, programs),
        state=state,
    )

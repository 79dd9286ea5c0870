# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare the mappings that programs of tests/vm made with the results of the finders."""

from collections.abc import Sequence
from dataclasses import dataclass

from attached import View
from machine import Json
from sharing import claimed_at

from pageproof.find.shared import FINDERS, Claimed, find_shared, kernel_pages
from pageproof.space.units import PAGE_BYTES

#: Part, pages of the mapping, first page and pages of the region.
Region = tuple[str, int, int, int]


@dataclass(frozen=True)
class Made:
    """A stopped guest, and the mappings that programs of tests/vm made in it.

    Attributes:
        view: the guest.
        pids: kind -> PID of the program that has it.
        made: the programs' descriptions of their mappings.
    """

    view: View
    pids: dict[str, int]
    made: list[Json]

    def found(self, kind: str) -> dict[int, Region]:
        """Return what the finder of a kind finds in the program with that kind, by address."""
        (finder,) = (one for one in FINDERS if one.kind == kind)
        pid = self.pids[kind]
        found = find_shared(self.view.target.prog, self.view.paging, [finder], pid)
        assert not found.unclaimed + found.faults
        return {
            one.mapping.vma.start: (
                one.claim.part,
                one.mapping.vma.pages,
                one.claim.first_page,
                one.claim.pages,
            )
            for one in found.claimed
            if one.mapping.vma
        }

    def expected(self, kind: str) -> dict[int, Region]:
        """Return the same from the program's own description."""
        return {
            one["address"]: (one["part"], one["pages"], one["first_page"], one["region_pages"])
            for one in self.of_kind(kind)
            if one["pid"] == self.pids[kind]
        }

    def of_kind(self, kind: str) -> list[Json]:
        return [one for one in self.made if one["kind"] == kind]

    def labelled(self, label: str, kind: str | None = None) -> list[Json]:
        same = [one for one in self.made if one["label"] == label]
        some = [one for one in same if kind in (None, one["kind"])]
        assert some, f"no mapping {label}"
        return some

    def claimed(self, made: Json) -> Claimed:
        return claimed_at(self.view, made["kind"], made["pid"], made["address"])

    def pages(self, made: Json) -> Sequence[int | None]:
        """Return the kernel address of each page of the region."""
        return kernel_pages(self.view.target.prog, self.claimed(made))

    def sides(self, made: Json) -> list[int | None]:
        return list(self.pages(made))

    def user_pfn(self, made: Json, page: int) -> int | None:
        """Return the frame of a page of the mapping."""
        (root,) = {
            tree.root for tree in self.view.processes() if tree.name.startswith(f"{made['pid']} ")
        }
        return self.view.engine.walk(root, made["address"] + page * PAGE_BYTES).pfn

    def kernel_pfn(self, address: int | None) -> int:
        assert address is not None
        pfn = self.view.engine.walk(self.view.paging.kernel_root, address).pfn
        assert pfn is not None
        return pfn

    def user_bytes(self, made: Json, page: int) -> bytes:
        """Return the content of the user side's frame."""
        pfn = self.user_pfn(made, page)
        assert pfn is not None
        return bytes(self.view.target.prog.read(pfn * PAGE_BYTES, PAGE_BYTES, physical=True))

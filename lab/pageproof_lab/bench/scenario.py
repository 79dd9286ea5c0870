# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests of the part "server": their sizes, and the goals for each command."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pageproof_lab import LabError
from pageproof_lab.bench.mappers import Mapper

PAGE_BYTES = 4096
PAGES_PER_MIB = (1 << 20) // PAGE_BYTES
GROUP = "server"  # name of the memfd
_PIECES_PER_PAGE = 4  # of mappers.c: every fourth VMA maps a page of the memfd
#: Page tables of a process that are not full, its kernel stack and its task, in KiB.
_PROCESS_KIB = 200
_VMA_BYTES = 300  # with its share of the tree
#: For the kernel, its crash kernel and pageproof inside the guest; smaller versions need less.
_BASE_MIB, _SMALL_BASE_MIB = 3072, 1024
#: Least share of pages whose frame does not follow that of the page before, if shuffled.
_UNORDERED = 0.9


@dataclass(frozen=True)
class Goal:
    """The most that a command may take, from outside and on the ELF dump."""

    seconds: float
    mib: float | None = None


@dataclass(frozen=True)
class Scenario:
    """A guest whose processes map one memfd."""

    name: str
    title: str
    processes: int
    memfd_pages: int
    vmas: int = 0  # of one page each, per process; 0: each process maps the memfd once, as a whole
    scattered: bool = False
    goals: tuple[tuple[str, Goal], ...] = ()
    full: bool = True  # the size for which the goals are

    @property
    def group(self) -> str:
        """The argument for mappers.c."""
        kind = ":pieces" if self.vmas else ":scattered" if self.scattered else ""
        return f"{GROUP}:{self.processes}:{self.vmas or 1}:{self.memfd_pages}{kind}"

    @property
    def mappings(self) -> int:
        """Number of VMAs of the memfd."""
        each = -(-self.vmas // _PIECES_PER_PAGE) if self.vmas else 1
        return self.processes * each

    @property
    def ptes(self) -> int:
        """Number of mapped pages of the memfd."""
        return self.mappings if self.vmas else self.processes * self.memfd_pages

    @property
    def memory_mib(self) -> int:
        """Memory that the guest needs."""
        tables = self.ptes * 8 // (1 << 20)
        vmas = self.processes * (_PROCESS_KIB * 1024 + self.vmas * _VMA_BYTES) // (1 << 20)
        base = _BASE_MIB if self.full else _SMALL_BASE_MIB
        needed = base + self.memfd_pages // PAGES_PER_MIB + tables + vmas
        return -(-needed // 512) * 512

    def describe(self) -> str:
        """Return the title with the numbers."""
        size = f"a memfd of {self.memfd_pages:,} pages"
        if not self.memfd_pages % PAGES_PER_MIB:
            size = f"a memfd of {self.memfd_pages // PAGES_PER_MIB:,} MiB"
        if self.vmas:
            what = f"{self.vmas:,} VMAs each, every fourth maps one page of {size}"
        else:
            what = f"each maps all of {size}"
        order = ", whose frames are in no order" if self.scattered else ""
        return f"{self.title}: {self.processes:,} processes, {what}{order}"

    def smaller(self, processes: int | None, vmas: int | None, mib: int | None) -> "Scenario":
        """Return the scenario with other numbers, for which there are no goals.

        Args:
            processes: number of processes; None: as it is, also for the others.
            vmas: VMAs of a process, if this scenario is about VMAs. The memfd has as many pages.
            mib: size of the memfd, if this scenario is about the memfd.
        """
        other = replace(self, processes=processes or self.processes)
        if self.vmas and vmas:
            other = replace(other, vmas=vmas, memfd_pages=vmas)
        if not self.vmas and mib:
            other = replace(other, memfd_pages=mib * PAGES_PER_MIB)
        return self if other == self else replace(other, goals=(), full=False)

    def check(self, mappers: Sequence[Mapper]) -> None:
        """Check that the guest's processes are what the scenario promises.

        Raises:
            LabError: they are not, so the figures would be those of another guest.
        """
        wrong = []
        found = sum(mapper.ptes for mapper in mappers)
        if len(mappers) != self.processes:
            wrong.append(f"{len(mappers):,} processes instead of {self.processes:,}")
        if found != self.ptes:
            wrong.append(f"{found:,} pages of the memfd are mapped instead of {self.ptes:,}")
        few = [mapper.vmas for mapper in mappers if mapper.vmas < self.vmas]
        if few:
            wrong.append(f"{len(few):,} processes have fewer than {self.vmas:,} VMAs")
        # 512 entries of 8 bytes are a table. With huge pages there would be fewer tables.
        tables = sum(mapper.tables_kib for mapper in mappers)
        if tables * 1024 < self.ptes * 8 and not self.vmas:
            wrong.append(f"{tables:,} KiB of page tables are too few for {self.ptes:,} small pages")
        runs = sum(mapper.runs for mapper in mappers)
        if self.scattered and runs < _UNORDERED * self.ptes:
            wrong.append(f"the frames are in order: {self.ptes:,} pages are {runs:,} runs")
        if wrong:
            raise LabError(f"scenario {self.name}: in the guest " + "; ".join(wrong))


_MIB = PAGES_PER_MIB
SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "vmas",
            "A million VMAs",
            processes=2000,
            memfd_pages=500,
            vmas=500,
            goals=(
                ("regions", Goal(3, 500)),
                ("verify", Goal(6, 600)),
                ("audit", Goal(6)),
            ),
        ),
        Scenario(
            "buffer",
            "One shared buffer",
            processes=48,
            memfd_pages=1024 * _MIB,
            goals=(("verify", Goal(1.5, 400)),),
        ),
        Scenario(
            "entries",
            "A hundred million entries",
            processes=100,
            memfd_pages=4096 * _MIB,
            goals=(("verify", Goal(5)), ("audit", Goal(5)), ("alias", Goal(5))),
        ),
        Scenario(
            "unordered",
            "Frames in no order",
            processes=16,
            memfd_pages=1024 * _MIB,
            scattered=True,
        ),
    )
}

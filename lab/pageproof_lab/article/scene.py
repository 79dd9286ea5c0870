# SPDX-License-Identifier: GPL-2.0-or-later
"""What the steps of a replay share: the guest, drgn's view of it, and the debugger's."""

from dataclasses import dataclass, field

import drgn

from pageproof import arch
from pageproof.arch.architecture import Architecture
from pageproof.attach import Target, Wanted, open_target
from pageproof.find.kernel.paging import read_paging
from pageproof.model import PagingFacts, Walk
from pageproof.observe.walkers import walker_of
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof_lab.article.session import Session
from pageproof_lab.article.touches import Touches
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images.build import Built

#: The article's guest: its kernel had 4 levels and no KASLR, so its direct map began here
#: (Documentation/arch/x86/x86_64/mm.rst).
THEN_PAGE_OFFSET = 0xFFFF_8880_0000_0000
THEN_PAGE = 0xFFFF_8880_1F97_3000


@dataclass
class Scene:
    """A guest in the hands of the debugger. Steps leave here what later steps need.

    Attributes:
        text: addresses of the module's code.
        page: kernel address of the region's first page; 0 until it is allocated.
        frame: physical address to which page tables lead from there; 0 if they lead nowhere.
        length: of the region in bytes.
        start: user address of the mapping; 0 until there is one.
        helper: pid of the process that maps it.
        roots: physical addresses of its topmost tables: what user mode runs on, what the kernel
            does; equal without page-table isolation.
        touches: the watchpoints on the page, and what they saw.
        early: how many entries they had when the helper's mmap began.
    """

    guest: Guest
    built: Built
    parameters: tuple[str, ...]
    target: Target
    paging: PagingFacts
    walker: Walker
    session: Session
    text: range = range(0)
    page: int = 0
    frame: int = 0
    length: int = PAGE_BYTES
    start: int = 0
    helper: int = 0
    roots: tuple[int, int] = (0, 0)
    touches: Touches | None = field(default=None, repr=False)
    early: int = 0

    @property
    def prog(self) -> drgn.Program:
        return self.target.prog

    @property
    def architecture(self) -> Architecture:
        return arch.of_program(self.prog)

    def symbol(self, name: str) -> int:
        """Return the address of a symbol of the kernel."""
        return int(self.prog.symbol(name).address)

    def kernel_walk(self, address: int) -> Walk:
        """Walk the kernel's own tables."""
        return self.walker.walk(self.paging.kernel_root, address)


def enter(guest: Guest, built: Built, parameters: tuple[str, ...]) -> Scene:
    """Attach to a guest, stop it, and return the scene.

    Raises:
        PageproofError: its memory or its gdb stub cannot be used.
    """
    target = open_target(Wanted(qemu=str(guest.sockets.qmp)), [])
    paging = read_paging(target.prog)
    walker = walker_of(target, paging)
    session = Session(target, str(guest.sockets.gdb))
    return Scene(guest, built, parameters, target, paging, walker, session)


def entries(walk: Walk) -> str:
    """Return the entries of a walk, as in "PGD[273] 2e01067, PUD[0] 2e02067"."""
    return ", ".join(f"{step.name}[{step.index}] {step.entry:x}" for step in walk.steps)


def hexed(number: int | None) -> str:
    """Return a number in hex; "none" for None."""
    return "none" if number is None else f"{number:#x}"

# SPDX-License-Identifier: GPL-2.0-or-later
"""The watchpoints on the shared page: who touched which field, and what it held then."""

import struct
import time
from dataclasses import replace
from pathlib import Path

from pageproof.attach import Target
from pageproof.commands.watchfields import Fields
from pageproof.commands.watchwords import words_of
from pageproof.find.kernel.members import MemberWords, find_member, find_type
from pageproof.find.umh_shm.region import MODULE
from pageproof.find.umh_shm.slot import SLOT, SLOT_ENUMS
from pageproof.model import MemoryGap, PagingFacts
from pageproof.model.watch import Access, CodePlace, Mode, Place
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof.watch.decode import Decoder
from pageproof.watch.source import Hit
from pageproof_lab.article.session import Session, Stop
from pageproof_lab.article.steps import Seen

#: The fields of the article, the word by which kernel and helper take turns, and the answer.
FIELDS = ("id", "payload", "pl_hash", "state", "reply")
#: Part of a stack that is searched for the caller.
_STACK_BYTES = 256


class Touches:
    """Watches a page, and collects its accesses.

    Args:
        frame: physical address of the page.
        text: addresses of the module's code.
        helper: the helper's file with symbols.
    """

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        walker: Walker,
        frame: int,
        text: range,
        helper: Path | None,
    ) -> None:
        prog = target.prog
        kind = find_type(prog, SLOT)
        self._members = tuple(find_member(prog, kind, name) for name in FIELDS)
        fields = Fields(self._members, MemberWords(prog, SLOT_ENUMS))
        programs = () if helper is None else (helper,)
        self._words = words_of(target, paging, walker, fields, programs)
        self._target, self._frame = target, frame
        page = bytearray(target.reader.read_physical(frame, PAGE_BYTES))
        self._places: list[Place] = []
        self._decoder = Decoder(self._members, self._places, page, time.monotonic_ns(), self._words)
        self._text = text
        self._known: dict[tuple[int, int], tuple[str, ...]] = {}
        self.seen: list[Seen] = []
        self._last: tuple[int, Access, int] | None = None

    def arm(self, session: Session, page: int, roots: tuple[int, ...] = ()) -> None:
        """Set a watchpoint on each field of the page at one of its addresses.

        Args:
            page: the address.
            roots: tables in which a user address counts; empty for a kernel address.
        """
        for number, member in enumerate(self._members):
            place = Place(
                number=len(self._places),
                field=number,
                address=page + member.offset,
                length_bytes=member.length,
                paddr=self._frame + member.offset,
                side=Mode.USER if roots else Mode.KERNEL,
                roots=roots,
            )
            self._places.append(place)
            session.watch(place)

    def hit(self, stop: Stop) -> None:
        """Take the hits of one instruction, in the order of the fields in the page."""
        for hit in sorted(stop.hits, key=lambda one: self._places[one.place].address):
            self._take(stop, hit)

    def _take(self, stop: Stop, hit: Hit) -> None:
        event, place = self._decoder.event(hit), self._places[hit.place]
        key = place.number, hit.access, hit.pid
        code = self._code(stop, hit.mode)
        if key == self._last:
            last = self.seen[-1]
            code = tuple(dict.fromkeys((*last.code, *code)))
            accesses = last.accesses + 1
            self.seen[-1] = replace(last, after=event.after, accesses=accesses, code=code)
            return
        self._last = key
        self.seen.append(
            Seen(
                address=place.address,
                side=place.side.value,
                access=hit.access.value,
                field=self._members[place.field].path[-1],
                before=event.before,
                after=event.after,
                accesses=1,
                pid=hit.pid,
                comm=hit.comm,
                code=code,
            )
        )

    def _code(self, stop: Stop, mode: Mode) -> tuple[str, ...]:
        """Return the function, and the one of the module that called it, if it is another's.

        The second is the first return address into the module on the stack. drgn unwinds stacks
        only with debug info that the lab's kernels do not have.
        """
        registers = stop.registers
        if mode is Mode.USER:
            return (_words(self._words.user_code(stop.current.pid, registers.ip)),)
        key = registers.ip, registers.values["rsp"]
        if key not in self._known:
            code = self._words.kernel_code(registers.ip)
            caller = "" if code.module == MODULE else self._caller(key[1])
            self._known[key] = (_words(code), f"from {caller}") if caller else (_words(code),)
        return self._known[key]

    def _caller(self, sp: int) -> str:
        try:
            data = self._target.reader.read_kernel_virtual(sp, _STACK_BYTES)
        except MemoryGap:
            return ""
        for (word,) in struct.iter_unpack("<Q", data):
            if word in self._text:
                return _words(self._words.kernel_code(word))
        return ""


def _words(code: CodePlace) -> str:
    function = code.symbol.partition("+")[0]
    if not function:
        return f"{code.address:#x}"
    return f"{function} ({code.source})" if code.source else function

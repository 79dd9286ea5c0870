# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine in C, through its binding."""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from pageproof.arch import Level, Paging
from pageproof.arch.engine import (
    CompressedMemory,
    DirectMemory,
    FileMemory,
    MappedFiles,
    cores,
    engine_walker,
)
from pageproof.model import (
    EntryKind,
    MemoryGap,
    Outcome,
    Permissions,
    Range,
    Step,
    Walk,
)
from pageproof.space.units import ADDRESS_LAST, PAGE_SHIFT
from pageproof.walk.account import (
    Accounted,
    Accounts,
    FramePlace,
    TableUse,
)
from pageproof.walk.protocol import MAX_ENTRIES, Index, Part, Swept
from pageproof.walk.ranges import TooMuchWork, check_range
from pageproof.walk.sides import Sides, Spans
from pageproof.walk.threads import in_threads
from pageproof.walk.walker import ReadPhysical, zeros_made_up

if TYPE_CHECKING:
    import pageproof_pagewalk


_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")

#: Limit of memory for accounts of threads: each thread needs its own, two bytes a frame.
_ACCOUNT_BYTES: Final = 256 << 20

#: The engine's value for "no frame".
_NO_PADDR: Final = ADDRESS_LAST


class EngineIndex:
    """The engine's index, in C.

    Args:
        make: makes an empty one. Each thread fills its own, with whole address spaces.
        walker: of the tables.
        threads: the limit of threads.
    """

    def __init__(
        self,
        make: Callable[[], pageproof_pagewalk.Index],
        walker: pageproof_pagewalk.Walker,
        threads: int,
    ) -> None:
        self._make, self._walker, self._threads = make, walker, threads
        self._indices = [make()]

    def add(self, space: int, root: int, first: int, last: int) -> Swept:
        return self._add_to(self._indices[0], space, root, first, last)

    def add_spaces(self, spaces: Sequence[Sequence[Part]]) -> list[list[Swept]]:
        while len(self._indices) < min(self._threads, len(spaces)):
            self._indices.append(self._make())

        def filler(
            index: pageproof_pagewalk.Index,
        ) -> Callable[[tuple[int, Sequence[Part]]], list[Swept]]:
            return lambda space: [self._add_to(index, space[0], *part) for part in space[1]]

        return in_threads(tuple(enumerate(spaces)), tuple(map(filler, self._indices)))

    def _add_to(
        self, index: pageproof_pagewalk.Index, space: int, root: int, first: int, last: int
    ) -> Swept:
        (_, _, gaps, _), whole = index.add(self._walker, space, root & ADDRESS_LAST, first, last)
        return Swept(gaps > 0, whole)

    def finish(self) -> None:
        in_threads(self._indices, [lambda index: index.finish()] * len(self._indices))

    def lookup(self, pfn: int) -> list[tuple[int, int]]:
        return sorted(found[:2] for index in self._indices for found in index.lookup(pfn))


#: Calls, mostly of an address space each, between two of MappedFiles.trim().
_CALLS_PER_TRIM: Final = 32


class _Reading(threading.local):
    """Why reads of this thread's current call into the engine failed.

    The engine keeps only numbers. Another call may start before the results of the first one are
    used: a generator is read slowly, or a read itself walks.

    Attributes:
        reasons: by the address that could not be read; None if the call does not use them.
    """

    reasons: dict[int, str] | None = None


class EngineWalker:
    """The engine in C.

    Raises:
        ImportError: it was not built.
    """

    name = "c"

    def __init__(
        self,
        read_physical: ReadPhysical,
        paging: Paging,
        direct: DirectMemory = (),
        compressed: CompressedMemory = (),
        file: FileMemory | None = None,
    ) -> None:
        import pageproof_pagewalk as engine

        self._engine = engine
        self._read, self._paging = read_physical, paging
        self._kinds = tuple(engine.KINDS)
        # No walk ends at a table, so its number is not used.
        mapped = EntryKind.LEAF.value, EntryKind.TABLE.value
        self._outcomes = tuple(
            Outcome.MAPPED if kind in mapped else Outcome(kind) for kind in self._kinds
        )
        self._levels = {level.number: level for level in paging.tables}
        self._types = paging.memory_types
        self._reading = _Reading()
        self.threads = cores() if direct or compressed or file else 1
        # drgn is not made for threads. A read may walk, and so read again.
        self._lock: AbstractContextManager[object] = (
            threading.RLock() if self.threads > 1 else nullcontext()
        )
        self._walker = engine_walker(paging, self._read_or_gap, direct, compressed, file)
        self._files, self._calls = MappedFiles(direct, compressed), 0

    def _read_or_gap(self, paddr: int, length: int) -> bytes | int:
        reasons = self._reading.reasons
        try:
            with self._lock:
                data = self._read(paddr, length)
        except MemoryGap as gap:
            reason, outcome = str(gap), gap.outcome
        else:
            if len(data) == length:
                return data
            reason, outcome = f"{len(data)} bytes came instead of {length}", Outcome.UNREADABLE
        finally:
            self._reading.reasons = reasons  # the read may have walked too
        if reasons is not None:
            reasons[paddr] = reason
        return self._kinds.index(outcome.value)

    def _call(
        self,
        reasons: dict[int, str],
        method: Callable[_Args, _Result],
        *args: _Args.args,
        **options: _Args.kwargs,
    ) -> _Result:
        """Call the engine and collect why reads failed in ``reasons``."""
        self._reading.reasons = reasons
        self._trim_sometimes()
        try:
            return method(*args, **options)
        finally:
            self._reading.reasons = None

    def _trim_sometimes(self) -> None:
        self._calls += 1
        if not self._calls % _CALLS_PER_TRIM:
            self._files.trim()

    def _outcome(self, kind: int) -> Outcome:
        return self._outcomes[kind]

    def _permissions(self, rights: int) -> Permissions:
        engine = self._engine
        return Permissions(
            write=bool(rights & engine.WRITE),
            execute=bool(rights & engine.EXECUTE),
            user=bool(rights & engine.USER),
            access=bool(rights & engine.ACCESS),
        )

    def _why(
        self, reasons: dict[int, str], level: Level, table: int, paddr: int, outcome: Outcome
    ) -> str:
        reason = reasons.get(paddr)
        if reason is None:  # the engine itself reported the gap
            left_out = outcome is Outcome.EXCLUDED
            reason = str(MemoryGap.left_out(paddr) if left_out else zeros_made_up())
        return f"{level.name} table at {table:#x}: {reason}"

    def walk(self, root: int, address: int) -> Walk:
        if not 0 <= address <= ADDRESS_LAST:
            raise ValueError(f"{address:#x} is not a 64-bit address")
        reasons: dict[int, str] = {}
        (
            kind,
            root,
            paddr,
            leaf_bytes,
            rights,
            memory_type,
            swap_type,
            swap_offset,
            gap_level,
            gap_table,
            gap_paddr,
            gap_length,
            raw_steps,
        ) = self._call(reasons, self._walker.walk, root & ADDRESS_LAST, address)
        outcome = self._outcome(kind)
        steps = tuple(self._step(step) for step in raw_steps)
        if outcome is Outcome.MAPPED:
            detail = ""
        elif gap_length:
            detail = self._why(reasons, self._levels[gap_level], gap_table, gap_paddr, outcome)
        elif outcome is Outcome.NON_CANONICAL:
            detail = f"{address:#018x} is not canonical with {self._paging.levels} levels"
        else:
            end = steps[-1]
            detail = f"{end.name} entry {end.index} of the table at {end.table:#x} is {outcome}"
        return Walk(
            address=address,
            root=root,
            levels=self._paging.levels,
            steps=steps,
            outcome=outcome,
            paddr=paddr,
            pfn=None if paddr is None else paddr >> PAGE_SHIFT,
            leaf_bytes=leaf_bytes,
            permissions=None if paddr is None else self._permissions(rights),
            memory_type=None if paddr is None else self._types[memory_type],
            swap_type=None if swap_type < 0 else swap_type,
            swap_offset=None if swap_type < 0 else swap_offset,
            detail=detail,
        )

    def _step(self, step: pageproof_pagewalk._Step) -> Step:
        level, table, index, entry, kind, flags, base = step
        words = tuple(flags.split())
        if words[:1] == ("type",):
            words = (f"type {words[1]}", f"offset {words[3]}")
        return Step(
            level=level,
            name=self._levels[level].name,
            table=table,
            index=index,
            entry=entry,
            kind=EntryKind(self._kinds[kind]),
            flags=words,
            base=base,
        )

    def ranges(
        self,
        root: int,
        first: int,
        last: int,
        *,
        merged: bool = False,
        max_entries: int = MAX_ENTRIES,
    ) -> Iterator[Range]:
        engine = self._engine
        merge = engine.MERGE_FRAMES if merged else engine.MERGE_NOTHING
        yield from self._sweep(root, first, last, merge, max_entries)

    def alike(self, root: int, first: int, last: int) -> Iterator[Range]:
        yield from self._sweep(root, first, last, self._engine.MERGE_LIKE, MAX_ENTRIES)

    def account(
        self,
        root: int,
        first: int,
        last: int,
        accounts: Accounts | None,
        marked: bytes | bytearray | None = None,
        most_places: int = 0,
        *,
        alike: bool = False,
    ) -> Accounted:
        reasons: dict[int, str] = {}
        data, (_, _, gaps, _), stopped_at = self._call(
            reasons,
            self._walker.account,
            root & ADDRESS_LAST,
            first,
            last,
            None if accounts is None else accounts.uses,
            counts=None if accounts is None else accounts.counts,
            marked=marked,
            special=self._paging.special_mask,
            most_places=most_places,
            alike=alike,
        )
        found = Accounted(gaps=gaps > 0, whole=stopped_at is None)
        table = self._kinds.index(EntryKind.TABLE.value)
        for fields in struct.iter_unpack(self._engine.RANGE_FORMAT, data):
            start, end, paddr, entry, _, _, level, kind, *_ = fields
            if kind == table:
                found.tables.append(TableUse(paddr, level - 1, start))
            elif alike:
                found.runs.append(self._range(reasons, *fields))
            else:
                special = bool(entry & self._paging.special_mask)
                found.places.append(FramePlace(start, end, paddr, level, special))
        return found

    def account_spaces(
        self,
        spans: Sequence[Part],
        accounts: Accounts | None,
        marked: bytes | bytearray | None = None,
        most_places: int = 0,
        *,
        alike: bool = False,
    ) -> list[Accounted]:
        threads, others = min(self.threads, len(spans)), []
        if accounts is not None and threads > 1:
            frames = len(accounts.uses)
            threads = min(threads, 1 + _ACCOUNT_BYTES // max(2 * frames, 1))
            others = [Accounts.empty(frames) for _ in range(threads - 1)]

        def adder(mine: Accounts | None) -> Callable[[Part], Accounted]:
            return lambda span: self.account(*span, mine, marked, most_places, alike=alike)

        mine = [accounts] * threads if accounts is None else [accounts, *others]
        found = in_threads(spans, tuple(map(adder, mine))) if spans else []
        for one in others:
            assert accounts is not None
            self._engine.account_merge(accounts.uses, accounts.counts, one.uses, one.counts)
        return found

    def _sweep(
        self, root: int, first: int, last: int, merge: int, max_entries: int
    ) -> Iterator[Range]:
        check_range(first, last)
        reasons: dict[int, str] = {}
        nothing = merge == self._engine.MERGE_NOTHING
        data, _, stopped_at = self._call(
            reasons,
            self._walker.sweep,
            root & ADDRESS_LAST,
            first,
            last,
            merge=merge,
            ignore=ADDRESS_LAST,
            skip=0 if nothing else 1 << self._kinds.index(EntryKind.NONE.value),
            max_entries=max_entries,
        )
        for fields in struct.iter_unpack(self._engine.RANGE_FORMAT, data):
            yield self._range(reasons, *fields)
        if stopped_at is not None:
            raise TooMuchWork(f"gave up at {stopped_at:#x}: too many entries")

    def sides(self, root: int, spans: Spans, expected: Sides | None = None) -> Sides:
        self._trim_sometimes()
        data, stopped_at = self._walker.sides(
            root & ADDRESS_LAST,
            spans,
            None if expected is None else expected.data,
            max_entries=MAX_ENTRIES,
        )
        if stopped_at is not None:
            raise TooMuchWork(f"gave up at {stopped_at:#x}: too many entries")
        return Sides(data, self._outcomes)

    def index(self, wanted: Iterable[int] | None = None) -> Index:
        pfns = None if wanted is None else array("Q", wanted)
        return EngineIndex(lambda: self._engine.Index(pfns), self._walker, self.threads)

    def _range(
        self,
        reasons: dict[int, str],
        start: int,
        last: int,
        paddr: int,
        entry: int,
        table: int,
        shared_with: int,
        level_number: int,
        kind: int,
        rights: int,
        memory_type: int,
        gap_length: int,
    ) -> Range:
        level = self._levels[level_number]
        shared = self._kinds[kind] == EntryKind.TABLE.value
        outcome = Outcome.MAPPED if shared else self._outcome(kind)
        frame = None if paddr == _NO_PADDR else paddr
        if gap_length:
            detail = self._why(reasons, level, table, table, outcome)
        elif frame is not None:
            detail = ""
        else:
            index = level.index_of(start)
            detail = f"{level.name} entry {index} of the table at {table:#x}"
            if shared:
                detail += f" shares the table at {self._paging.address_of(entry):#x}"
        return Range(
            start,
            last,
            level_number,
            outcome,
            frame,
            self._permissions(rights) if shared or frame is not None else None,
            shared_with=shared_with if shared else None,
            detail=detail,
            memory_type=None if frame is None else self._types[memory_type],
        )

# SPDX-License-Identifier: GPL-2.0-or-later
"""Walk the page tables of some processes in one way, and time it.

`pageproof_lab.bench.bench_engine` starts one process per way, so that its peak memory belongs to
this way alone. Prints one JSON object: seconds of each pass, the first apart, and what was found.
"""

import argparse
import bisect
import json
import random
import statistics
import struct
import subprocess
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pageproof_pagewalk as engine
from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.pid import find_task

from pageproof.arch import Paging
from pageproof.attach import Target, Wanted, open_target
from pageproof.attach.dumpfile import inspect_dump
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import address_space
from pageproof.model.asked import WalkerChoice
from pageproof.observe.walkers import paging_form
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import make_walker

PASSES = 9
LEAF, NONE = engine.KINDS.index("leaf"), engine.KINDS.index("none")
FOLLOWED = 20_000
LOOKUPS = 2_000
#: Frames of the accounts: a guest of 8 GiB.
FRAMES = 1 << 21

Json = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The page tables to walk: the user half of some processes."""

    target: Target
    paging: Paging
    pids: list[int]
    roots: list[int]

    def walker(self, *, direct: bool) -> engine.Walker:
        """The engine itself, without the dataclasses that the commands make from its results."""
        types = bytes(engine.MEMORY_TYPES.index(each) for each in self.paging.type_table)
        read = self.target.reader.read_physical
        memory = self.target.reader.direct_memory() if direct else ()
        if direct and not memory:
            raise SystemExit(
                "direct: this target has no memory that can be mapped; use an ELF dump"
            )
        return engine.Walker(f"x86_64-{self.paging.levels}", types, read=read, direct=memory)

    def kdump(self) -> engine.Kdump:
        """The engine's own reader of a compressed dump."""
        compressed = self.target.reader.compressed_memory()
        if len(compressed) != 1:
            raise SystemExit("this target is not a kdump-compressed dump in one file")
        return engine.Kdump(*compressed[0])

    def unpacker(self) -> engine.Walker:
        """The engine, which decompresses tables itself."""
        types = bytes(engine.MEMORY_TYPES.index(each) for each in self.paging.type_table)
        read = self.target.reader.read_physical
        form = f"x86_64-{self.paging.levels}"
        return engine.Walker(form, types, read=read, kdump=self.kdump())

    def sweep(self, walker: engine.Walker, root: int) -> tuple[memoryview, int]:
        """Sweep the user half of a process: its ranges, and the number of tables read."""
        ranges, stats, stopped = walker.sweep(
            root,
            0,
            self.paging.lower_half_last,
            merge=engine.MERGE_FRAMES,
            ignore=(1 << 64) - 1,
            skip=1 << NONE,
        )
        assert stopped is None
        return ranges, stats[0]


def leaves(ranges: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield start, number of pages and first frame of ranges of small pages."""
    for fields in struct.iter_unpack(engine.RANGE_FORMAT, ranges):
        start, last, paddr, level, kind = *fields[:3], fields[6], fields[7]
        if (level, kind) == (1, LEAF):
            yield start, (last + 1 - start) // PAGE_BYTES, paddr // PAGE_BYTES


def count(swept: Sequence[tuple[memoryview, int]]) -> Json:
    ptes = ranges = 0
    for data, _ in swept:
        for _, pages, _ in leaves(data):
            ptes += pages
            ranges += 1
    return {"ptes": ptes, "ranges": ranges, "tables": sum(tables for _, tables in swept)}


def timed(run: Callable[[], object], passes: int = PASSES) -> Json:
    """Time a number of passes. The first is apart, as it also faults in the pages of the dump."""
    seconds = []
    for _ in range(passes + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {"first": seconds[0], "seconds": statistics.median(seconds[1:]), "passes": passes}


def sweep(bench: Bench, args: argparse.Namespace) -> Json:
    unpacks = args.way == "kdump"
    walker = bench.unpacker() if unpacks else bench.walker(direct=args.way == "direct")
    swept: list[tuple[memoryview, int]] = []

    def one(root: int) -> tuple[memoryview, int]:
        return bench.sweep(walker, root)

    def run() -> None:
        swept.clear()
        if args.threads == 1:
            swept.extend(map(one, bench.roots))
        else:
            swept.extend(pool.map(one, bench.roots))

    with ThreadPoolExecutor(args.threads) as pool:
        return timed(run) | count(swept)


def unpack(bench: Bench, args: argparse.Namespace) -> Json:
    """The limit of a compressed dump: decompress each table once, nothing else."""
    tables, kdump = list(table_addresses(bench)), bench.kdump()

    def run() -> None:
        for table in tables:
            kdump.read(table)

    return timed(run, 3) | {"tables": len(tables)}


def in_threads(run: Callable[[int], object], bench: Bench, threads: int) -> None:
    """Call run(number) for each root, in that many threads."""
    if threads == 1:
        for number in range(len(bench.roots)):
            run(number)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(len(bench.roots))))


def account(bench: Bench, args: argparse.Namespace) -> Json:
    """Count how often each frame is mapped, as audit does."""
    walker, last = bench.walker(direct=True), bench.paging.lower_half_last
    arrays = bytearray(FRAMES), bytearray(FRAMES)

    def one(number: int) -> None:
        walker.account(bench.roots[number], 0, last, arrays[0], counts=arrays[1])

    return timed(lambda: in_threads(one, bench, 1)) | {"ptes": pages_of(bench, walker)}


def find(bench: Bench, args: argparse.Namespace) -> Json:
    """Find all mappings of one frame, as alias does."""
    walker, last = bench.walker(direct=True), bench.paging.lower_half_last
    ranges = bench.sweep(walker, bench.roots[0])[0]
    pfn = next(frame for _, pages, frame in leaves(ranges) if pages)
    indices: list[engine.Index] = []

    def one(number: int) -> None:
        index = engine.Index(array("Q", [pfn]))
        index.add(walker, number, bench.roots[number], 0, last)
        index.finish()
        indices.append(index)

    def run() -> None:
        indices.clear()
        in_threads(one, bench, args.threads)

    result = timed(run) | {"ptes": pages_of(bench, walker)}
    return result | {"found": sum(len(index.lookup(pfn)) for index in indices)}


def pages_of(bench: Bench, walker: engine.Walker) -> int:
    return int(count([bench.sweep(walker, root) for root in bench.roots])["ptes"])


def by_python(bench: Bench, args: argparse.Namespace) -> Json:
    """The Python walker, as the commands call it."""
    walker = make_walker(bench.target.reader.read_physical, bench.paging, WalkerChoice.PYTHON)
    pages = 0

    def run() -> None:
        nonlocal pages
        pages = sum(
            one.frame is not None and one.level == 1
            for root in bench.roots
            for one in walker.ranges(root, 0, bench.paging.lower_half_last, merged=True)
        )

    return timed(run, 2) | {"ptes": pages}


def by_follow_phys(bench: Bench, args: argparse.Namespace) -> Json:
    walker = bench.walker(direct=False)
    rng = random.Random(1)
    mapped = [
        (pid, start + PAGE_BYTES * number)
        for pid, root in zip(bench.pids, bench.roots, strict=True)
        for start, pages, _ in leaves(bench.sweep(walker, root)[0])
        for number in range(pages)
    ]
    prog = bench.target.prog
    spaces = {pid: find_task(prog, pid).mm.read_() for pid in bench.pids}
    asked = [(spaces[pid], address) for pid, address in rng.sample(mapped, FOLLOWED)]

    def run() -> None:
        for mm, address in asked:
            follow_phys(mm, address)

    return timed(run) | {"ptes": len(asked)}


def build_index(bench: Bench, args: argparse.Namespace) -> Json:
    """Index all aliases of all frames, then look up random frames."""
    walker = bench.walker(direct=True)
    frames = [
        frame + number
        for _, pages, frame in leaves(bench.sweep(walker, bench.roots[0])[0])
        for number in range(pages)
    ]
    index = engine.Index()

    def run() -> None:
        nonlocal index
        index = engine.Index()
        for space, root in enumerate(bench.roots):
            _, whole = index.add(walker, space, root, 0, bench.paging.lower_half_last)
            assert whole
        index.finish()

    result = timed(run)
    asked = random.Random(2).choices(frames, k=LOOKUPS)
    start = time.perf_counter()
    found = sum(len(index.lookup(frame)) for frame in asked)
    seconds = time.perf_counter() - start
    records, pages = index.size()
    return result | {
        "ptes": pages,
        "bytes_per_pte": 16 * records / pages,
        "lookups_per_second": LOOKUPS / seconds,
        "found_per_lookup": found / LOOKUPS,
    }


def table_addresses(bench: Bench) -> Iterator[int]:
    """Yield the physical addresses of all page tables of the user halves, roots included."""

    def below(table: int, levels: int) -> Iterator[int]:
        yield table
        if levels == 1:
            return
        entries = struct.unpack("<512Q", bench.target.reader.read_physical(table, PAGE_BYTES))
        for raw in entries[: 256 if levels == bench.paging.levels else 512]:
            if raw & 1 and not raw & 1 << 7:
                yield from below(bench.paging.address_of(raw), levels - 1)

    for root in bench.roots:
        yield from below(bench.paging.address_of(root), bench.paging.levels)


def by_memcpy(bench: Bench, args: argparse.Namespace) -> Json:
    """The limit: a program that only copies the same tables."""
    elf_map = inspect_dump(args.core).elf_map
    assert elf_map is not None
    pieces = [piece for piece in elf_map.pieces if piece.file_offset is not None]
    starts = [piece.paddr for piece in pieces]
    offsets = array("Q")
    for table in table_addresses(bench):
        piece = pieces[bisect.bisect_right(starts, table) - 1]
        assert piece.file_offset is not None
        assert piece.paddr <= table <= piece.paddr + piece.length - PAGE_BYTES
        offsets.append(piece.file_offset + table - piece.paddr)
    with tempfile.NamedTemporaryFile() as file:
        offsets.tofile(file)
        file.flush()
        words = [str(args.limit), str(args.core), file.name, str(args.threads)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    first, *passes = map(float, said.split())
    return {
        "first": first,
        "seconds": statistics.median(passes),
        "passes": len(passes),
        "tables": len(offsets),
    }


WAYS: dict[str, Callable[[Bench, argparse.Namespace], Json]] = {
    "memcpy": by_memcpy,
    "direct": sweep,
    "callback": sweep,
    "kdump": sweep,
    "unpack": unpack,
    "account": account,
    "find": find,
    "index": build_index,
    "python": by_python,
    "follow_phys": by_follow_phys,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--core", type=Path)
    parser.add_argument("--qemu")
    parser.add_argument("--symbols", type=Path, required=True)
    parser.add_argument("--pids", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=Path, help="the program that only copies")
    args = parser.parse_args()
    target = open_target(Wanted(args.qemu, args.core, (args.symbols,)), ())
    facts = read_paging(target.prog)
    pids = [int(pid) for pid in args.pids.split(",")]
    roots = [address_space(target.prog, facts, pid)[0].root for pid in pids]
    bench = Bench(target, paging_form(target, facts), pids, roots)
    print(json.dumps(WAYS[args.way](bench, args)))


if __name__ == "__main__":
    main()

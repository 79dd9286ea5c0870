# SPDX-License-Identifier: GPL-2.0-or-later
"""A real kernel's BTF and table of symbols, damaged: errors within bounds, and no other exception.

Both are read from the vmlinux of a kernel of the lab, at the addresses that it was linked for.
"""

import random
import struct
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import drgn
import pytest
from unit.madebtf import within_bounds

from pageproof.attach.btf import kallsyms, sources
from pageproof.attach.btf.drgntypes import Types
from pageproof.attach.btf.format import Btf, Kind
from pageproof.attach.btf.variables import names
from pageproof.errors import PageproofError
from pageproof_lab.images import kernels

KERNEL = "6.12"
CASES = pytest.mark.parametrize(
    "cases", [pytest.param(100), pytest.param(5000, marks=pytest.mark.long)]
)
STRUCTURES = (
    "task_struct",
    "mm_struct",
    "page",
    "vm_area_struct",
    "module",
    "file",
    "inode",
    "zone",
)
PARTS = tuple(
    f"kallsyms_{part}"
    for part in ("num_syms", "names", "markers", "token_table", "token_index", "offsets")
)


@cache
def vmlinux() -> Path:
    return kernels.fetch(KERNEL).vmlinux


@cache
def whole_btf() -> bytes:
    found = sources.sort_files([vmlinux()]).kernel
    assert found
    return found


@cache
def symbols() -> dict[str, int]:
    listed = subprocess.run(["nm", vmlinux()], capture_output=True, text=True, check=True)
    rows = (line.split() for line in listed.stdout.splitlines())
    wanted = (*PARTS, "kallsyms_relative_base", "kallsyms_seqs_of_names", "_stext")
    return {name: int(address, 16) for address, _, name in rows if name in wanted}


@cache
def image() -> tuple[int, bytes]:
    """Return the segment that has the table, and its address."""
    data = vmlinux().read_bytes()
    (at,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    for start in range(at, at + size * count, size):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start)
        if kind == 1 and address <= symbols()["kallsyms_names"] < address + length:
            return address, data[offset : offset + length]
    raise AssertionError("no segment has the table of symbols")


def part(name: str) -> tuple[int, int]:
    """Return where a part of the table begins in the image, and its length."""
    places = sorted(symbols().values())
    start = symbols()[name]
    return start - image()[0], min(one for one in places if one > start) - start


def spoil(data: bytearray, start: int, length: int, most: int, chance: random.Random) -> None:
    """Flip bits and overwrite words, at most 2^most."""
    for _ in range(1 << chance.randint(0, most)):
        at = start + chance.randrange(length)
        if chance.random() < 0.5:
            data[at] ^= 1 << chance.randrange(8)
        else:
            value = chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32)))
            at = min(at & ~3, start + length - 4)
            if at >= start:
                struct.pack_into("<I", data, at, value)


def use(types: Types) -> None:
    kinds = drgn.TypeKindSet(drgn.TypeKind)
    for name in STRUCTURES:
        made = types.find(kinds, name)
        for member in (made and made.is_complete() and made.members) or ():
            member.type.type_name()
    for name in names():
        types.find(kinds, name)
        types.find_typed(Kind.VAR, name)
    for name in ("NR_NODE_STATES", "END_OF_SPACE_NR", "PG_slab", "XONLY"):
        types.find_constant(name)


@CASES
def test_btf(cases: int) -> None:
    known = Btf(whole_btf(), "here")

    def case(seed: int) -> None:
        chance, data = random.Random(seed), bytearray(whole_btf())
        where = chance.choice(("header", "types", "all", "cut"))
        if where == "types":  # those that are used
            _, at = known.at(known.ids(chance.choice(STRUCTURES))[0])
            spoil(data, 24 + 4 * at, 512, 3, chance)
        else:
            spoil(data, 0, 24 if where == "header" else len(data), 3, chance)
        if where == "cut":
            del data[chance.randrange(len(data)) :]
        prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        use(Types(prog, Btf(bytes(data), "here")))

    assert cases // 10 < within_bounds(cases, case) < cases


@CASES
def test_kallsyms(cases: int) -> None:
    start, memory = image()

    def reader(data: bytes | bytearray) -> Callable[[int, int], bytes]:
        def read(address: int, length: int) -> bytes:
            if not start <= address <= address + length <= start + len(data):
                raise PageproofError("cannot be read", "memory")
            return bytes(data[address - start : address - start + length])

        return read

    whole = kallsyms.unpack(reader(memory), symbols())
    assert whole.address("_stext") == symbols()["_stext"] and len(whole) > 100_000

    def case(seed: int) -> None:
        chance, data = random.Random(seed), bytearray(memory)
        for name in chance.sample(PARTS, chance.randint(1, 2)):
            spoil(data, *part(name), 12, chance)
        places = dict(symbols())
        if chance.random() < 0.2:
            places[chance.choice(list(places))] += chance.choice((1, -8, 4096, -(1 << 20), 1 << 40))
        table = kallsyms.unpack(reader(data), places)
        for name in names():
            table.find(name, None, True)
        table.find(None, places["_stext"], True)

    assert cases // 10 < within_bounds(cases, case) < cases

# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory operand of the instruction after which a CPU has stopped.

A stop reply names a watchpoint, not the address that was used, and reports the read of an
instruction that reads and writes. When a CPU stops, it is known where the instruction ends, not
where it begins. So each length is tried, and operands in the watched page are kept: registers that
lead there by accident are rare.

Reference: Intel SDM, volume 2, chapter 2 and the opcode maps of appendix A.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pageproof.arch.cpu import Operand, Registers

#: Longest instruction.
CODE_BYTES: Final = 15
#: A repeated string instruction with its prefixes; the CPU stops at its beginning between two
#: repetitions.
STRING_BYTES: Final = 4

_NAMES: Final = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
_PREFIXES: Final = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0xF0, 0xF2, 0xF3))
_FS, _GS, _WORD, _REPNE, _REP = 0x64, 0x65, 0x66, 0xF2, 0xF3
_MASK: Final = (1 << 64) - 1
_DF: Final = 1 << 10

#: Sizes that depend on prefixes: of the general operand, of a vector, of movd and movq.
_G, _V, _M = 0, -1, -2
#: An immediate operand of the general size, at most 4 bytes.
_IMM: Final = -1
_R, _W, _RW = "r", "w", "rw"
#: (size, bytes of the immediate operand, access; by ModRM.reg if it differs)
_Spec = tuple[int, int, "str | tuple[str, ...]"]
_GROUP1: Final = (*(_RW,) * 7, _R)

_ONE: Final[dict[int, _Spec]] = {
    # add, or, adc, sbb, and, sub, xor, cmp
    **dict.fromkeys(range(0, 56, 8), (1, 0, _RW)),
    **{base + 1: (_G, 0, _RW) for base in range(0, 0x38, 8)},
    **{base + 2: (1, 0, _R) for base in range(0, 0x40, 8)},
    **{base + 3: (_G, 0, _R) for base in range(0, 0x40, 8)},
    **{0x38: (1, 0, _R), 0x39: (_G, 0, _R)},
    **{0x63: (4, 0, _R), 0x69: (_G, _IMM, _R), 0x6B: (_G, 1, _R)},
    **{0x80: (1, 1, _GROUP1), 0x81: (_G, _IMM, _GROUP1), 0x83: (_G, 1, _GROUP1)},
    **{0x84: (1, 0, _R), 0x85: (_G, 0, _R), 0x86: (1, 0, _RW), 0x87: (_G, 0, _RW)},
    **{0x88: (1, 0, _W), 0x89: (_G, 0, _W), 0x8A: (1, 0, _R), 0x8B: (_G, 0, _R)},
    **{0xC0: (1, 1, _RW), 0xC1: (_G, 1, _RW)},
    **{0xC6: (1, 1, (_W,)), 0xC7: (_G, _IMM, (_W,))},
    **{0xD0: (1, 0, _RW), 0xD1: (_G, 0, _RW), 0xD2: (1, 0, _RW), 0xD3: (_G, 0, _RW)},
    # not, neg, mul, div; test is below, it has an immediate operand
    0xF6: (1, 0, ("", "", _RW, _RW, _R, _R, _R, _R)),
    0xF7: (_G, 0, ("", "", _RW, _RW, _R, _R, _R, _R)),
    **{0xFE: (1, 0, (_RW, _RW)), 0xFF: (_G, 0, (_RW, _RW))},
}
_TEST: Final[dict[int, _Spec]] = {0xF6: (1, 1, (_R, _R)), 0xF7: (_G, _IMM, (_R, _R))}
_TWO: Final[dict[int, _Spec]] = {
    **{0x10: (_V, 0, _R), 0x11: (_V, 0, _W), 0x12: (8, 0, _R), 0x13: (8, 0, _W)},
    **{0x16: (8, 0, _R), 0x17: (8, 0, _W), 0x28: (_V, 0, _R), 0x29: (_V, 0, _W)},
    **{
        0x2B: (_V, 0, _W),
        0x6E: (_M, 0, _R),
        0x7E: (_M, 0, _W),
        0x6F: (_V, 0, _R),
        0x7F: (_V, 0, _W),
    },
    **{0x74: (_V, 0, _R), 0x75: (_V, 0, _R), 0x76: (_V, 0, _R), 0xDA: (_V, 0, _R)},
    **{0xD6: (8, 0, _W), 0xE7: (_V, 0, _W), 0xEF: (_V, 0, _R), 0xF0: (_V, 0, _R)},
    **dict.fromkeys(range(0x40, 0x50), (_G, 0, _R)),  # cmov
    **dict.fromkeys(range(0x90, 0xA0), (1, 0, _W)),  # set
    **{0xA3: (_G, 0, _R), 0xAB: (_G, 0, _RW), 0xB3: (_G, 0, _RW), 0xBB: (_G, 0, _RW)},  # bt
    0xBA: (_G, 1, ("", "", "", "", _R, _RW, _RW, _RW)),
    **{0xA4: (_G, 1, _RW), 0xA5: (_G, 0, _RW), 0xAC: (_G, 1, _RW), 0xAD: (_G, 0, _RW)},
    **{0xAF: (_G, 0, _R), 0xB0: (1, 0, _RW), 0xB1: (_G, 0, _RW)},  # imul, cmpxchg
    **{0xB6: (1, 0, _R), 0xB7: (2, 0, _R), 0xBE: (1, 0, _R), 0xBF: (2, 0, _R)},
    **{0xB8: (_G, 0, _R), 0xBC: (_G, 0, _R), 0xBD: (_G, 0, _R)},
    **{0xC0: (1, 0, _RW), 0xC1: (_G, 0, _RW), 0xC3: (_G, 0, _W)},  # xadd, movnti
    0xC7: (8, 0, ("", _RW)),  # cmpxchg8b, cmpxchg16b
}
#: What they load is no general register.
_VECTORS: Final = frozenset(
    (0x12, 0x16, *(opcode for opcode, spec in _TWO.items() if spec[0] in (_V, _M)))
)
#: Bit tests whose bit number is in a register: it selects a word after or before the operand.
_BITS: Final = frozenset((0xA3, 0xAB, 0xB3, 0xBB))
#: movs, cmps, stos, lods, scas: what (rsi), (rdi) are used for.
_STRINGS: Final = {0xA4: (_R, _W), 0xA6: (_R, _R), 0xAA: ("", _W), 0xAC: (_R, ""), 0xAE: ("", _R)}
_VEX_PREFIX: Final = (0, _WORD, _REP, _REPNE)


def operands(before: bytes, after: bytes, registers: Registers) -> Iterator[Operand]:
    """Yield what the instruction may have used, longest instructions first.

    Args:
        before: up to CODE_BYTES bytes before the instruction pointer.
        after: up to STRING_BYTES bytes from it on.
        registers: after the instruction.
    """
    for end in range(2, len(after) + 1):
        yield from _strings(after[:end], registers)
    for length in range(len(before), 0, -1):
        code = before[-length:]
        yield from _strings(code, registers)
        found = _operand(code, registers)
        if found is not None:
            yield found


def _strings(code: bytes, registers: Registers) -> Iterator[Operand]:
    """Yield the operands of a string instruction that has moved its pointers."""
    prefixes, rex, at = _prefixes(code)
    if at + 1 != len(code) or code[at] & 0xFE not in _STRINGS:
        return
    size = _general(prefixes, rex) if code[at] & 1 else 1
    step = -size if registers.values["eflags"] & _DF else size
    for name, access in zip(("rsi", "rdi"), _STRINGS[code[at] & 0xFE], strict=True):
        if access:
            address = registers.values[name] - step & _MASK
            yield Operand(address, size, _R in access, _W in access, len(code), string=True)


def _operand(code: bytes, registers: Registers) -> Operand | None:
    """Return the operand of an instruction that is all of the code, if it is one of the tables."""
    prefixes, rex, at = _prefixes(code)
    table, wide = _ONE, False
    if code[at : at + 1] in (b"\xc4", b"\xc5") and not rex:
        table = _TWO
        last = at + 2 if code[at] == 0xC4 else at + 1
        if last >= len(code) or (code[at] == 0xC4 and code[at + 1] & 0x1F != 1):
            return None
        if code[at] == 0xC4:
            rex = ~code[at + 1] >> 5 & 7 | code[last] >> 4 & 8
        else:
            rex = ~code[last] >> 5 & 4
        wide = bool(code[last] & 4)
        prefixes |= {_VEX_PREFIX[code[last] & 3]}
        at = last + 1
    elif code[at : at + 1] == b"\x0f":
        table, at = _TWO, at + 1
    if at + 1 >= len(code):
        return None
    opcode, modrm = code[at], code[at + 1]
    spec = table.get(opcode)
    if table is _ONE and opcode in _TEST and modrm >> 3 & 7 < 2:
        spec = _TEST[opcode]
    if spec is None or modrm >> 6 == 3:
        return None
    size, immediate, access = spec
    if not isinstance(access, str):
        group = modrm >> 3 & 7
        access = access[group] if group < len(access) else ""
    general = _general(prefixes, rex)
    if immediate == _IMM:
        immediate = min(general, 4)
    if size == _V:
        size = 32 if wide else _vector(opcode, prefixes)
    elif size == _M:
        # F3 0F 7E is the other direction: a load of 8 bytes.
        load = opcode == 0x7E and _REP in prefixes
        size, access = (8, _R) if load else (8 if rex & 8 else 4, access)
    elif size == _G or (opcode == 0xC7 and table is _TWO):
        size = 16 if opcode == 0xC7 and table is _TWO and rex & 8 else size or general
    found = _address(code, at + 1, rex, immediate, registers)
    if found is None or not access:
        return None
    address, used = found
    register = _NAMES[modrm >> 3 & 7 | (rex & 4) << 1]
    if table is _TWO and opcode in _BITS:
        bit = registers.values[register]
        bit -= (bit >> 63) << 64
        address += bit // (general * 8) * general
    if _FS in prefixes:
        address += registers.values["fs_base"]
    elif _GS in prefixes:
        address += registers.values["gs_base"]
    vector = table is _TWO and opcode in _VECTORS
    lost = access == _R and register in used and not vector
    return Operand(None if lost else address & _MASK, size, _R in access, _W in access, len(code))


def _prefixes(code: bytes) -> tuple[set[int], int, int]:
    """Return the prefixes, the REX prefix, and where the opcode begins."""
    at, prefixes = 0, set()
    while at < len(code) and code[at] in _PREFIXES:
        prefixes.add(code[at])
        at += 1
    if at < len(code) and code[at] & 0xF0 == 0x40:
        return prefixes, code[at], at + 1
    return prefixes, 0, at


def _general(prefixes: set[int], rex: int) -> int:
    return 8 if rex & 8 else 2 if _WORD in prefixes else 4


def _vector(opcode: int, prefixes: set[int]) -> int:
    if opcode in (0x10, 0x11):  # movss, movsd
        return 4 if _REP in prefixes else 8 if _REPNE in prefixes else 16
    return 16


def _address(
    code: bytes, at: int, rex: int, immediate: int, registers: Registers
) -> tuple[int, tuple[str, ...]] | None:
    """Return the address in ModRM and SIB and its registers, if the code ends after them.

    Args:
        code: an instruction.
        at: of ModRM.
        rex: bits X and B extend the registers.
        immediate: bytes after the address.
        registers: after the instruction.
    """
    mode, base = code[at] >> 6, code[at] & 7
    at += 1
    used: list[str] = []
    address, displacement = 0, (0, 1, 4)[mode]
    if base == 4:  # a SIB byte follows
        if at >= len(code):
            return None
        sib, at = code[at], at + 1
        base, index = sib & 7, sib >> 3 & 7 | (rex & 2) << 2
        if index != 4:
            used.append(_NAMES[index])
            address = registers.values[_NAMES[index]] << (sib >> 6)
        if mode == 0 and base == 5:
            displacement, base = 4, -1
    elif mode == 0 and base == 5:  # relative to the instruction pointer
        displacement, base = 4, -1
        address = registers.ip
    if len(code) != at + displacement + immediate:
        return None
    if base >= 0:
        name = _NAMES[base | (rex & 1) << 3]
        used.append(name)
        address += registers.values[name]
    address += int.from_bytes(code[at : at + displacement], "little", signed=True)
    return address, tuple(used)

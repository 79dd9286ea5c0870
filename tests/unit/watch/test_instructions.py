# SPDX-License-Identifier: GPL-2.0-or-later
"""Operands of instructions that objdump names."""

from __future__ import annotations

import pytest

from pageproof.arch.cpu import Operand
from pageproof.arch.x86_64.cpu import X86Cpu, X86Registers
from pageproof.arch.x86_64.instructions import operands
from pageproof.watch.stops import find_operand

PAGE = 0xFFFF888012345000
REGISTERS = X86Registers(
    {
        **{name: 0x1000 * number for number, name in enumerate(("rax", "rcx", "rdx", "rsp"), 1)},
        **{f"r{number}": 0x7000_0000 + number for number in range(8, 16)},
        "rbx": PAGE,
        "rbp": PAGE + 0x100,
        "rsi": PAGE + 0x200,
        "rdi": PAGE + 0x300,
        "r14": PAGE + 0x400,
        "rip": PAGE + 0x900,
        "eflags": 0x246,
        "fs_base": PAGE + 0x500,
        "gs_base": PAGE + 0x600,
    }
)


def of(text: str, **changed: int) -> Operand | None:
    """The operand of the instruction that is all of the code."""
    code = bytes.fromhex(text)
    registers = X86Registers({**REGISTERS.values, **changed})
    found = (one for one in operands(code, b"", registers) if one.length == len(code))
    return next(found, None)


@pytest.mark.parametrize(
    ("code", "offset", "size", "access"),
    [
        ("89 03", 0, 4, "w"),  # mov %eax,(%rbx)
        ("8b 43 10", 0x10, 4, "r"),  # mov 0x10(%rbx),%eax
        ("48 89 43 f8", -8, 8, "w"),  # mov %rax,-0x8(%rbx)
        ("66 89 45 00", 0x100, 2, "w"),  # mov %ax,0x0(%rbp)
        ("c6 03 07", 0, 1, "w"),  # movb $7,(%rbx)
        ("c7 86 04 08 00 00 01 00 00 00", 0xA04, 4, "w"),  # movl $1,0x804(%rsi)
        ("49 c7 86 04 04 00 00 00 00 00 00", 0x804, 8, "w"),  # movq $0,0x404(%r14)
        ("66 c7 03 34 12", 0, 2, "w"),  # movw $0x1234,(%rbx)
        ("89 05 00 01 00 00", 0xA00, 4, "w"),  # mov %eax,0x100(%rip)
        ("89 04 0b", 0x2000, 4, "w"),  # mov %eax,(%rbx,%rcx,1)
        ("89 04 4b", 0x4000, 4, "w"),  # mov %eax,(%rbx,%rcx,2)
        ("64 8b 04 25 10 00 00 00", 0x510, 4, "r"),  # mov %fs:0x10,%eax
        ("65 ff 04 25 10 00 00 00", 0x610, 4, "rw"),  # incl %gs:0x10
        ("ff 03", 0, 4, "rw"),  # incl (%rbx)
        ("f0 0f b1 13", 0, 4, "rw"),  # lock cmpxchg %edx,(%rbx)
        ("f0 48 0f c7 0b", 0, 16, "rw"),  # lock cmpxchg16b (%rbx)
        ("f0 0f c1 13", 0, 4, "rw"),  # lock xadd %edx,(%rbx)
        ("87 03", 0, 4, "rw"),  # xchg %eax,(%rbx)
        ("80 3b 07", 0, 1, "r"),  # cmpb $7,(%rbx)
        ("83 0b 01", 0, 4, "rw"),  # orl $1,(%rbx)
        ("f6 03 01", 0, 1, "r"),  # testb $1,(%rbx)
        ("f7 1b", 0, 4, "rw"),  # negl (%rbx)
        ("0f b6 03", 0, 1, "r"),  # movzbl (%rbx),%eax
        ("0f 94 03", 0, 1, "w"),  # sete (%rbx)
        ("0f 11 03", 0, 16, "w"),  # movups %xmm0,(%rbx)
        ("f3 0f 11 03", 0, 4, "w"),  # movss %xmm0,(%rbx)
        ("f3 0f 6f 03", 0, 16, "r"),  # movdqu (%rbx),%xmm0
        ("66 0f d6 03", 0, 8, "w"),  # movq %xmm0,(%rbx)
        ("f3 0f 7e 03", 0, 8, "r"),  # movq (%rbx),%xmm0
        ("c5 fe 6f 06", 0x200, 32, "r"),  # vmovdqu (%rsi),%ymm0
        ("c5 fe 7f 47 20", 0x320, 32, "w"),  # vmovdqu %ymm0,0x20(%rdi)
        ("c4 c1 7e 7f 46 20", 0x420, 32, "w"),  # vmovdqu %ymm0,0x20(%r14)
        ("f3 aa", 0x2FF, 1, "w"),  # rep stos %al,(%rdi)
        ("f3 48 ab", 0x2F8, 8, "w"),  # rep stos %rax,(%rdi)
        ("ac", 0x1FF, 1, "r"),  # lods (%rsi),%al
    ],
)
def test_operands(code: str, offset: int, size: int, access: str) -> None:
    found = of(code)
    assert found is not None and found.address is not None
    assert (found.address - PAGE, found.size_bytes) == (offset, size)
    assert (found.reads, found.writes) == ("r" in access, "w" in access)


def test_both_operands_of_movs() -> None:
    two = [one for one in operands(bytes.fromhex("f3a4"), b"", REGISTERS) if one.length == 2]
    assert [(one.address, one.reads, one.writes) for one in two] == [
        (PAGE + 0x1FF, True, False),
        (PAGE + 0x2FF, False, True),
    ]


def test_backwards() -> None:
    found = of("f3 aa", eflags=0x646)
    assert found is not None and found.address == PAGE + 0x301


def test_a_bit_far_away() -> None:
    assert of("0f ab 0b") == Operand(PAGE + 0x2000 // 8, 4, True, True, 3)  # bts %ecx,(%rbx)
    negative = of("48 0f b3 0b", rcx=(1 << 64) - 1)  # btr %rcx,(%rbx)
    assert negative is not None and negative.address == PAGE - 8


def test_an_overwritten_register() -> None:
    found = of("48 8b 1b")  # mov (%rbx),%rbx
    assert found is not None and found.address is None
    assert of("0f 6e 1b") is not None


@pytest.mark.parametrize("code", ["89 c3", "0f 05", "90", "e8 00 00 00 00", "8d 03"])
def test_no_operand(code: str) -> None:
    assert of(code) is None


def test_the_range_decides() -> None:
    """The last two bytes of a displacement are an instruction too: add %al,(%rax)."""
    code = bytes.fromhex("89 86 04 08 00 00"), b""  # mov %eax,0x804(%rsi)
    registers = X86Registers({**REGISTERS.values, "rax": PAGE + 0x40})
    found, certain = find_operand(X86Cpu(), code, registers, PAGE + 0xA04, 4)
    assert certain and found is not None and (found.address, found.writes) == (PAGE + 0xA04, True)
    found, certain = find_operand(X86Cpu(), code, registers, PAGE + 0xA08, 4)  # next to it
    assert certain and found is not None and found.address == PAGE + 0xA04
    found, certain = find_operand(X86Cpu(), code, registers, PAGE + 0x5000, 4)  # another page
    assert not certain


def test_between_two_repetitions() -> None:
    """The CPU stops at the string instruction; the one before it used the page as well."""
    before = bytes.fromhex("c7 86 04 08 00 00 01 00 00 00")
    found, certain = find_operand(
        X86Cpu(), (before, bytes.fromhex("f3aa9090")), REGISTERS, PAGE + 0x2FF, 1
    )
    assert certain and found is not None and found.string


@pytest.mark.parametrize("length", range(16))
def test_any_bytes(length: int) -> None:
    for seed in range(300):
        code = bytes((seed * 7 + at * (seed + 13)) & 0xFF for at in range(length))
        list(operands(code, code[:4], REGISTERS))

# SPDX-License-Identifier: GPL-2.0-or-later
"""Registers, as QEMU 7.2 describes and sends them."""

from __future__ import annotations

import pytest

from pageproof.arch.x86_64.cpu import X86Cpu
from pageproof.errors import PageproofError
from pageproof.model.watch import Context
from pageproof.watch.current import context_of
from pageproof.watch.registers import RegisterLayout

NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
# Recorded from QEMU 7.2.22, i386-64bit.xml, less flags and vectors.
XML = "".join(
    (
        '<feature name="org.gnu.gdb.i386.core">\n',
        *(f'  <reg name="{name}" bitsize="64" type="int64"/>\n' for name in NAMES),
        *(f'  <reg name="r{number}" bitsize="64" type="int64"/>\n' for number in range(8, 16)),
        '  <reg name="rip" bitsize="64" type="code_ptr"/>\n',
        '  <reg name="eflags" bitsize="32" type="x64_eflags"/>\n',
        *(
            f'  <reg name="{name}" bitsize="32" type="int32"/>\n'
            for name in ("cs", "ss", "ds", "es", "fs", "gs")
        ),
        '  <!--reg name="cs_base" bitsize="64" type="int64"/>\n',
        '  <reg name="ss_base" bitsize="64" type="int64"/-->\n',
        *(
            f'  <reg name="{name}" bitsize="64" type="int64"/>\n'
            for name in ("fs_base", "gs_base", "k_gs_base", "cr0", "cr2", "cr3")
        ),
        "</feature>",
    )
)
# Of an idle CPU of a 6.12 guest, up to CR3.
ANSWER = (
    "00000000000000000000000000000000010000000000000064570000000000008300000000000000"
    "f4860900000000004009a1b1ffffffff883ea0b1ffffffffa05ee2b416722aff0100000000000000"
    "010000000000000074d1d20e00000000000000000000000000000000000000000000000000000000"
    "d0470100000000008fe5abb0ffffffff060200001000000018000000000000000000000000000000"
    "0000000000000000000000000000e0b416722aff000000000000000033000580000000005c65f6d7"
    "287f00000020a22e00000000"
)


def test_what_qemu_sent() -> None:
    registers = RegisterLayout(XML, "gdb", X86Cpu()).read(ANSWER)
    assert registers.ip == 0xFFFFFFFFB0ABE58F
    assert registers.values["rsp"] == 0xFFFFFFFFB1A03E88
    assert registers.values["cs"] == 0x10 and not registers.user_mode
    assert registers.table == 0x2EA22000
    assert registers.per_cpu_bases == (0xFF2A7216B4E00000, 0)


@pytest.mark.parametrize(
    ("cr3", "table"),
    [
        ("ff0fa22e00000000", 0x2EA20000),  # a PCID
        ("0020a22e00000080", 0x2EA22000),  # bit 63: do not flush
        ("0020a22e00000060", 0x2EA22000),  # LAM
    ],
)
def test_only_the_table_of_cr3(cr3: str, table: int) -> None:
    assert RegisterLayout(XML, "gdb", X86Cpu()).read(ANSWER[:-16] + cr3).table == table


def test_user_mode() -> None:
    answer = ANSWER.replace("0602000010000000", "0602000033000000")
    registers = RegisterLayout(XML, "gdb", X86Cpu()).read(answer)
    assert registers.user_mode
    assert registers.per_cpu_bases == (0, 0xFF2A7216B4E00000)


@pytest.mark.parametrize(
    "xml",
    ["", XML.replace("cr3", "cr9"), XML.replace('"64"', '"99999"'), XML.replace('"64"', '""')],
)
def test_other_registers(xml: str) -> None:
    with pytest.raises(PageproofError, match="not those of x86_64"):
        RegisterLayout(xml, "gdb", X86Cpu())


@pytest.mark.parametrize("answer", ["", "E01", ANSWER[:-2], "x" * len(ANSWER)])
def test_other_answers(answer: str) -> None:
    with pytest.raises(PageproofError, match="not those of x86_64"):
        RegisterLayout(XML, "gdb", X86Cpu()).read(answer)


@pytest.mark.parametrize(
    ("count", "context"),
    [
        (0x80000000, Context.TASK),
        (0x00000002, Context.TASK),
        (0x00000200, Context.TASK),  # softirqs are disabled, and none is served
        (0x00000100, Context.SOFTIRQ),
        (0x00000300, Context.SOFTIRQ),
        (0x00010101, Context.HARDIRQ),
        (0x00110000, Context.NMI),
    ],
)
def test_contexts(count: int, context: Context) -> None:
    assert context_of(count) is context

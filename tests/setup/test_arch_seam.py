# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts of an architecture are in ``arch/`` only.

Comments and docstrings may name kernel sources of an architecture, and so may the texts of rules:
they explain, and nothing is computed from them. ``model/`` keeps the fields that reports have.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "drgn_scripts" / "pageproof"

#: In code without its strings and comments.
CODE = (
    r"(?i)x86",
    r"(?i)\b_?(cr3|p4d|la57|nx|pse|protnone|lam)\b",
    r">> 63\b",
    r"1 << (39|47|48|52|56|63)\b",
    r"PTI_USER",
)
#: Whole strings.
STRINGS = (
    r"(?i)x86.64",
    r"PGD|P4D|PUD|PMD|PTE",
    r"WB|WC|UC-|UC|WT|WP",
    r"P|RW|US|PWT|PCD|PSE|NX|PROTNONE",
)
#: What begins a kernel address, an address mask or the like: more than a user address of 47 bits
#: has, less than a mask of all bits.
LEAST, MOST = 1 << 47, (1 << 64) - 2


def facts_in(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of what looks like a fact of x86 in Python code."""
    lines: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        at = token.start[0]
        if token.type == tokenize.STRING:
            # A docstring or another text is no fact; a word of its own may be one.
            word = token.string.strip("rbfu").strip("\"'")
            if any(re.fullmatch(one, word) for one in STRINGS):
                yield at, token.string
        elif token.type == tokenize.NUMBER:
            is_integer = re.fullmatch(r"0[xX][0-9a-fA-F_]+|[0-9_]+", token.string)
            if is_integer and LEAST <= int(token.string, 0) <= MOST:
                yield at, token.string
            lines.setdefault(at, []).append(token.string)
        elif token.type in (tokenize.NAME, tokenize.OP):
            lines.setdefault(at, []).append(token.string)
    for at, words in lines.items():
        line = " ".join(words)
        for one in CODE:
            if found := re.search(one, line):
                yield at, found[0]


def outside() -> list[Path]:
    """Modules of the package that are not an architecture's."""
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "arch"
    )


def test_there_are_no_facts_of_x86_outside_of_arch() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {what}"
        for path in outside()
        for line, what in facts_in(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_architectures_are_imported_by_arch_only() -> None:
    """Everything else gets the object from ``arch.of()`` or ``arch.of_program()``."""
    found = [
        f"{path.relative_to(PACKAGE)}: {line}"
        for path in outside()
        for line in re.findall(r"pageproof\.arch\.x86_64\S*", path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("upper = address >> 63 == 0\n", True),
        ("half = 1 << 47\n", True),
        ("top = 0xFFFF_8880_0000_0000\n", True),
        ("from pageproof.arch.x86_64.rows import memory_map\n", True),
        ('name = "PGD"\n', True),
        ('kind = "UC-"\n', True),
        ("entry & NX\n", True),
        ("mask = 0xFFFF_FFFF_FFFF_FFFF\n", False),
        ("page = 0xFFF\n", False),
        ('"""As arch/x86/mm/init.c does."""\n', False),
        ("# arch/x86/include/asm/pgtable.h\nx = 1\n", False),
        ("next_line = 5 >> 6\n", False),
    ],
)
def test_it_sees_facts(text: str, fact: bool) -> None:
    assert bool(list(facts_in(text))) is fact

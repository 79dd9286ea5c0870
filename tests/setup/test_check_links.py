# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of setup/check_links.py: for each check a text that fails it, and texts that pass."""

import dataclasses
import importlib
import pkgutil
from pathlib import Path

import pytest
from check_links import Project, link_faults, reference_fault, references

import pageproof.judge

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(
    {
        "README.md": "# A title\n\n## Looking around: `walk`\n\n```\n# no heading\n```\n",
        "docs/audit.md": "# pageproof audit\n",
        "module/helper.c": "",
        "drgn_scripts/pageproof/judge/rules/__init__.py": "",
    }
)
RULE = 'A = Rule("a", Severity.NOTE, "what", "why", "fix", "{}")\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "[x](docs/audit.md) [y](#looking-around-walk) [z](https://example.org/x.md)"),
        ("README.md", "`module/helper.c`, `docs/`, module/*.c and $OUT/docs/x.md"),
        ("docs/audit.md", "[up](../README.md#a-title), [dir](../module)"),
        ("docs/audit.md", "```\n[not](a-link)\n```"),
        ("lab/x.py", "# docs/audit.md, README.md; module/built.ko is not there yet\n"),
        ("drgn_scripts/pageproof/judge/x.py", RULE.format("docs/audit.md; mm/rmap.c: f(), g()")),
        ("drgn_scripts/pageproof/judge/x.py", RULE.format("Intel SDM 3A 4.6; mmap(2), MAP_FIXED")),
        ("drgn_scripts/pageproof/judge/x.py", RULE.format("judge/rules/, first lines")),
    ],
)
def test_sound(name: str, text: str) -> None:
    assert list(link_faults(name, text, PROJECT)) == []


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("README.md", "[x](docs/audi.md)", "link to docs/audi.md"),
        ("README.md", "[x](drgn_scripts/pageproof/judge/rules.py)", "no such file"),
        ("docs/audit.md", "[x](README.md)", "link to README.md"),
        ("README.md", "[x](#no-heading)", "no such heading"),
        ("README.md", "see `module/gone.c`", "module/gone.c: no such file"),
        ("lab/x.py", "# PITFALLS.\x6dd 12", "no such document"),
        ("drgn_scripts/pageproof/judge/x.py", RULE.format("PITFALLS: zero"), "neither a file"),
        ("drgn_scripts/pageproof/judge/x.py", RULE.format("mm/x.c; judge/rules.py"), "neither"),
        ("drgn_scripts/pageproof/judge/x.py", 'Rule(reference="docs/x")', "neither a file"),
    ],
)
def test_faulty(name: str, text: str, what: str) -> None:
    ((number, found),) = link_faults(name, text, PROJECT)
    assert number == 1
    assert what in found


def test_all_rules_are_seen() -> None:
    """The check finds each reference that the imported package contains."""
    made = set()
    for module in pkgutil.walk_packages(pageproof.judge.__path__, "pageproof.judge."):
        for one in vars(importlib.import_module(module.name)).values():
            if dataclasses.is_dataclass(one) and not isinstance(one, type):
                made.add(getattr(one, "reference", None))
    made -= {None, ""}
    sources = (ROOT / "drgn_scripts/pageproof/judge").rglob("*.py")
    assert made <= {reference for path in sources for _, reference in references(path.read_text())}
    assert len(made) > 30
    assert reference_fault("PITFALLS: zero is not data", PROJECT)

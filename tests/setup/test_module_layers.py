# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the module's layers: no file calls, through other files or directly, back into itself.

The internal header lists what each file offers: a comment with the file's name, then its prototypes
and variables.
"""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "module"
HEADER = "umh_shm.h"

SECTION = re.compile(r"^/\* (\w+\.[cS]) \*/$", re.MULTILINE)
#: The name in a prototype, an inline function or an extern variable.
DECLARED = re.compile(r"^(?!#|\t|[{}]).*?\b(umh_shm_\w+)(?=\(|\[\];|;)", re.MULTILINE)
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.DOTALL)
#: A name of a function or variable, not of a type.
USED = re.compile(r"(?<!struct )(?<!enum )\b(umh_shm_\w+)")


def offers(header: str) -> dict[str, str]:
    """Return the file that each function and variable of the internal header belongs to."""
    parts = SECTION.split(header)
    return {
        name: file
        for file, text in zip(parts[1::2], parts[2::2], strict=True)
        for name in DECLARED.findall(text)
    }


def calls(header: str, sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return, for each file, the other files whose functions or variables it uses."""
    owner = offers(header)
    return {
        file: {owner[name] for name in USED.findall(NOT_CODE.sub(" ", text)) if name in owner}
        - {file}
        for file, text in sources.items()
    }


def read_sources() -> dict[str, str]:
    return {path.name: path.read_text() for path in MODULE.glob("*.[cS]")}


def order(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the files, callees first; CycleError names a circle."""
    return list(TopologicalSorter(graph).static_order())


def test_no_circle() -> None:
    graph = calls((MODULE / HEADER).read_text(), read_sources())
    assert order(graph)[-1] == "main.c"
    # Without these the patterns above have missed what they look for.
    assert graph["main.c"] >= {"region.c", "proto.c", "helper.c", "chrdev.c", "debugfs.c"}
    assert graph["launch.c"] >= {"region.c", "helper_blob.S"}
    assert "sysfs.c" in graph["chrdev.c"]


def test_header_lists_each_name_under_the_file_that_defines_it() -> None:
    sources = read_sources()
    header = (MODULE / HEADER).read_text()
    for name, file in offers(header).items():
        inline = re.search(rf"^static inline .*\n?{name}\(", header, re.MULTILINE)
        definition = re.compile(rf"^(?!\t|extern\b).*\b{name}(?:\(|:| = |\[\] = |;)", re.MULTILINE)
        assert inline or definition.search(NOT_CODE.sub(" ", sources[file])), f"{name} in {file}"


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("int umh_shm_low(void) { return umh_shm_high(); }", "umh_shm_low();"),
        ("int i = umh_shm_data;", "umh_shm_low();"),
    ],
)
def test_a_circle_is_found(low: str, high: str) -> None:
    header = (
        "/* low.c */\nint umh_shm_low(void);\n\n"
        "/* high.c */\nextern int umh_shm_data;\nint umh_shm_high(void);\n"
    )
    with pytest.raises(CycleError):
        order(calls(header, {"low.c": low, "high.c": high}))


def test_types_and_comments_are_not_calls() -> None:
    header = (
        "/* low.c */\nextern struct umh_shm_data umh_shm_data;\n\n"
        "/* high.c */\nint umh_shm_high(void);\n"
    )
    low = 'struct umh_shm_data x; /* umh_shm_high() */ char *s = "umh_shm_high";'
    graph = calls(header, {"low.c": low, "high.c": "umh_shm_data.x = 1;"})
    assert graph == {"low.c": set(), "high.c": {"low.c"}}

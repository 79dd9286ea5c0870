# SPDX-License-Identifier: GPL-2.0-or-later
"""Check JUnit XML as CI servers do, and read it."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

#: Element -> required attributes, optional attributes, children. From Jenkins's schema
#: (xunit-plugin, junit-10.xsd), in Ant's order: properties, cases, output.
_ELEMENTS: dict[str, tuple[str, str, str]] = {
    "testsuites": ("", "name time tests failures errors", "(testsuite )*"),
    "testsuite": (
        "name tests failures errors",
        "skipped time timestamp hostname",
        "(properties )?(testcase )*(system-out )?",
    ),
    "properties": ("", "", "(property )*"),
    "property": ("name value", "", ""),
    "testcase": ("name classname", "time", "((failure|error|skipped) )?(system-out )?"),
    "failure": ("message", "type", ""),
    "error": ("message", "type", ""),
    "skipped": ("message", "type", ""),
    "system-out": ("", "", ""),
}
_TEXT = ("failure", "error", "skipped", "system-out")


def parse(text: str) -> Element:
    """Parse a JUnit file and check its structure, sums and names."""
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    _check(root)
    for one in (root, *root):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert one.get(name) == str(len(list(one.iter(tag)))), (one.get("name"), name)
    # GitLab identifies a case by both, and drops duplicates.
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(set(names)) == len(names), names
    return root


def _check(one: Element) -> None:
    must, may, children = _ELEMENTS[one.tag]
    assert set(must.split()) <= set(one.keys()) <= {*must.split(), *may.split()}, one.attrib
    assert re.fullmatch(children, "".join(f"{child.tag} " for child in one)), one.tag
    if one.tag not in _TEXT:
        assert not (one.text or "").strip()
    for child in one:
        assert not (child.tail or "").strip()
        _check(child)


def cases(root: Element) -> dict[str, str]:
    """Return suite/case -> tag of its outcome, which is "" for a success."""
    return {
        f"{suite.get('name')}/{case.get('name')}": next(
            (child.tag for child in case if child.tag != "system-out"), ""
        )
        for suite in root
        for case in suite.iter("testcase")
    }

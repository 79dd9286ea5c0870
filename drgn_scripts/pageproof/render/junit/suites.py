# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit XML: test suites and cases, in a form that every CI server can show.

Names of processes, files and regions come from the target. Texts are lists of lines, and each line
is escaped on its own: a newline in a name does not begin a line, and characters that XML does not
allow (XML 1.0, production Char) are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pageproof.render.printable import printable

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


@dataclass
class Case:
    """A test case.

    Attributes:
        name: CI servers recognise a case by its name and its class.
        outcome: name of the element: "failure", "error" or "skipped"; "" for a success.
        message: message of that element.
        text: lines of that element.
        out: lines of the case's output.
    """

    name: str
    outcome: str = ""
    message: str = ""
    text: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)

    def fails(self, outcome: str, message: str) -> None:
        self.outcome, self.message = outcome, message


@dataclass
class Suite:
    """A test suite.

    Attributes:
        name: name; a number makes it unique in the file.
        properties: values by name.
        cases: test cases, in the order of the file.
        out: lines of the suite's output.
        place: class name of its cases; "" to derive it from the suite's name.
    """

    name: str
    properties: dict[str, str]
    cases: list[Case] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    place: str = ""

    def count(self, outcome: str) -> int:
        return sum(case.outcome == outcome for case in self.cases)


def suites_to_xml(name: str, seconds: float, suites: Sequence[Suite]) -> str:
    """Return XML text with a newline at its end; a name that occurs again gets a number."""
    from xml.etree import ElementTree  # here, because it takes long to load

    root = ElementTree.Element(
        "testsuites", {"name": name, "time": f"{seconds:.3f}", **_counts(suites)}
    )
    taken: dict[str, int] = {}
    for suite in suites:
        _write(root, suite, _unique(printable(suite.name), taken))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _unique(name: str, taken: dict[str, int]) -> str:
    """Return the name, with a number if it is taken.

    Args:
        name: the name.
        taken: names that are taken, each with the last number that was tried for it.
    """
    number, found = taken.get(name, 1), name
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    taken[found] = 1
    if found != name:
        taken[name] = number
    return found


def _counts(suites: Iterable[Suite]) -> dict[str, str]:
    every = list(suites)
    return {
        "tests": str(sum(len(suite.cases) for suite in every)),
        "failures": str(sum(suite.count("failure") for suite in every)),
        "errors": str(sum(suite.count("error") for suite in every)),
    }


def _write(root: Element, suite: Suite, name: str) -> None:
    from xml.etree.ElementTree import SubElement

    facts = {"name": name, **_counts([suite]), "skipped": str(suite.count("skipped"))}
    made = SubElement(root, "testsuite", facts)
    properties = SubElement(made, "properties")
    for key, value in suite.properties.items():
        SubElement(properties, "property", name=key, value=printable(value))
    # CI servers take the part before the last dot as a package.
    place = suite.place or f"pageproof.{name.replace('.', '_')}"
    taken: dict[str, int] = {}
    for case in suite.cases:
        unique = _unique(printable(case.name), taken)
        one = SubElement(made, "testcase", classname=place, name=unique)
        if case.outcome:
            said = SubElement(one, case.outcome, message=printable(case.message))
            said.text = _lines(case.text) or None
        if case.out:
            SubElement(one, "system-out").text = _lines(case.out)
    if suite.out:
        SubElement(made, "system-out").text = _lines(suite.out)


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(printable(line) for line in lines)

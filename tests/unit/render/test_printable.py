# SPDX-License-Identifier: GPL-2.0-or-later
"""Names from a target or from a saved report are escaped in every form of output."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from junit import parse
from unit.commandfacts import alias_report, kernel_report, maps_report, user_report
from unit.diffs import busy, compare, rebooted
from unit.facts import SLOT, evidence, report
from unit.layouts import FOUR
from unit.render.draw import test_audit, test_regions, test_whatis
from unit.render.draw.test_kmap import made

import pageproof
from pageproof.api import Verification
from pageproof.cli import guarded, main
from pageproof.errors import PageproofError
from pageproof.front.output import Progress
from pageproof.judge.diff.audits import diff_audits
from pageproof.model import Finding, Severity
from pageproof.model.where import task
from pageproof.render.draw.kmap import ExplainedArea
from pageproof.render.drgn.alias import alias_to_drgn
from pageproof.render.drgn.kmap import kmap_to_drgn
from pageproof.render.drgn.maps import maps_to_drgn
from pageproof.render.drgn.walk import walk_to_drgn
from pageproof.render.drgn.whatis import whatis_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.junit.audit import audit_to_junit
from pageproof.render.junit.verify import verify_to_junit
from pageproof.render.printable import printable, printable_json
from pageproof.render.sheet import Sheet
from pageproof.render.table import to_text
from pageproof.render.textform import write_sheet

#: Each kind of character that a terminal, a log viewer or a compiler may obey, and new lines.
HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07\x00\t\x7f\x85\x9b2J\u200f\u202a\u202e\u2066\u2069\u2028\u2029"
    "\udc80\U000e0001\r\nFORGED\nFORGED"
)
#: Fields that only the program sets; texts are looked up by them.
_OURS = ("region", "schema", "arch")


def poisoned(value: Any) -> Any:
    """Return a report with hostile text appended to its strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: poisoned(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name not in _OURS or not isinstance(getattr(value, field.name), str)
        }
        return dataclasses.replace(value, **changes)
    if isinstance(value, tuple):
        return tuple(poisoned(one) for one in value)
    return value + HOSTILE if type(value) is str else value


def verified() -> Any:
    finding = Finding("some-rule", Severity.ERROR, task(133, "init"), "it is bad", (("comm", "x"),))
    one = report(dataclasses.replace(evidence(), slot=SLOT))
    (proof,) = one.proofs
    proof = dataclasses.replace(proof, findings=(finding,))
    return dataclasses.replace(one, proofs=(proof,), findings=(finding,))


def audited() -> Any:
    return test_audit.report(test_audit.broken())


OTHER_BOOT = compare(busy()[0], rebooted(busy()[1]))
AUDITS = diff_audits(test_audit.known(), audited(), "old.json", "new.json")
WHATIS = (
    test_whatis.slab,
    test_whatis.module,
    test_whatis.stack,
    test_whatis.user,
    test_whatis.with_mappings,
    test_whatis.doubtful,
)
Write = Callable[..., str]
TEXTS: list[tuple[Any, Write]] = [
    (verified(), to_text),
    (verified(), lambda one, **how: to_text(one, verbose=True, **how)),
    (busy()[0], to_text),
    (busy()[0], lambda one, **how: to_text(one, verbose=True, **how)),
    (kernel_report(), to_text),
    (user_report(), lambda one, **how: to_text(one, verbose=True, **how)),
    (maps_report(), lambda one, **how: to_text(one, verbose=True, **how)),
    (alias_report(), to_text),
    (audited(), to_text),
    (test_audit.known(), to_text),
    (test_regions.report(), to_text),
    (test_regions.doubtful(), to_text),
    (made(FOUR), to_text),
    (made(FOUR), lambda one, **how: to_text(ExplainedArea(one, "physmap"), **how)),
    (compare(*busy()), to_text),
    (OTHER_BOOT, to_text),
    (AUDITS, to_text),
    *((one(), to_text) for one in WHATIS),
]
REPORTS = [one for one, _ in TEXTS]
CODE: list[tuple[Any, Write]] = [
    (kernel_report(), walk_to_drgn),
    (user_report(), walk_to_drgn),
    (maps_report(), maps_to_drgn),
    (alias_report(), alias_to_drgn),
    (made(FOUR), kmap_to_drgn),
    *((one(), whatis_to_drgn) for one in WHATIS),
]
#: The only escape sequences that rich itself writes: colours.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def is_safe(text: str) -> bool:
    """Return whether all characters are printable and no line was forged."""
    lines = text.split("\n")
    return all(one.isprintable() and not one.lstrip().startswith("FORGED") for one in lines)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(("one", "write"), TEXTS)
def test_text(one: Any, write: Write, color: bool) -> None:
    assert is_safe(write(one, width=80))
    text = write(poisoned(one), color=color, width=10_000)
    assert "\\x1b[31mred\\x1b]0;title\\x07\\x00\\x09\\x7f\\x85\\x9b2J\\u200f\\u202a" in text
    assert is_safe(_COLOURS.sub("", text) if color else text)


@pytest.mark.parametrize("one", REPORTS)
def test_json_decodes_to_the_same_and_is_printable(one: Any) -> None:
    text = report_to_json(poisoned(one))
    assert all(line.isprintable() for line in text.split("\n"))
    assert any(said.endswith(HOSTILE) for said in _strings(json.loads(text)))
    assert text.isascii() or text.encode().decode() == text


def _strings(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


@pytest.mark.parametrize(
    ("one", "write"),
    [
        (verified(), lambda one: verify_to_junit(one, lambda kind: ("some-rule",))),
        (busy()[0], lambda one: verify_to_junit(one, lambda kind: ("some-rule",))),
        (audited(), audit_to_junit),
        (test_audit.known(), audit_to_junit),
    ],
)
def test_junit(one: Any, write: Write) -> None:
    text = write(poisoned(one))
    root = parse(text)
    for element in root.iter():
        assert all(value.isprintable() for value in element.attrib.values())
        assert is_safe((element.text or "").strip())
    assert "\\x0d\\x0aFORGED" in text


@pytest.mark.parametrize(("one", "write"), CODE)
def test_code_for_drgn_is_the_same_code(one: Any, write: Write) -> None:
    """Text from the target is in comments only, and cannot leave them."""
    sound, text = write(one), write(poisoned(one))
    assert is_safe(text)
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(sound))


def test_messages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> int:
        raise PageproofError(f"process {HOSTILE} has gone", HOSTILE, HOSTILE)

    assert guarded(fails) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert is_safe(err)


@pytest.mark.parametrize("one", [verified(), audited()])
def test_diff_of_saved_reports(
    one: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report may be written by hand; one with a lone surrogate is refused."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    refused = report_to_json(poisoned(one))
    accepted = refused.replace("\\udc80", "")
    old.write_text(accepted)
    new.write_text(accepted.replace("it is bad", "it is worse").replace("kernel memory", "memory"))
    for form in ("text", "json"):
        code = main(["diff", str(old), str(new), "--format", form])
        said = capsys.readouterr()
        assert code in (0, 1, 3), said.err
        assert said.out
        assert is_safe(said.out)
    for text in (refused, json.dumps({"schema": f"pageproof/{HOSTILE}"})):
        old.write_text(text)
        assert main(["diff", str(old), str(new)]) == 2
        assert is_safe(capsys.readouterr().err)


def test_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise ValueError(HOSTILE)

    assert guarded(fails, verbose=True) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert all(line.isprintable() for line in err.split("\n"))


def test_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    Progress().say(f"looking at {HOSTILE}")
    assert is_safe(capsys.readouterr().err.removeprefix("\r\x1b[K"))


def test_for_programs() -> None:
    one = Verification(poisoned(verified()))
    assert is_safe(str(one))
    assert is_safe(repr(one))
    assert "\n" not in repr(one)


def test_a_folded_name_is_indented() -> None:
    """Otherwise its rest would look like a line of the report."""
    (proof,) = report(evidence()).proofs
    name = "word " * 30 + "FORGED"
    for width in range(60, 150):
        sheet = Sheet()
        sheet.line(f"{proof.verdict.value}  {name}", style="bold")
        out = io.StringIO()
        write_sheet(sheet, out.write, color=False, width=width)
        text = out.getvalue()
        first, *more = text.splitlines()
        assert first.startswith("SAME  word")
        assert more
        assert all(line.startswith("      ") and len(line) <= width for line in more)
        assert " ".join(text.split()) == f"SAME {name}"


def test_rules_of_ours_have_nothing_to_escape() -> None:
    from pageproof.front.explain import explained
    from pageproof.judge.catalogue import RULES_BY_ID

    assert "\\" not in to_text(explained(RULES_BY_ID.values()), width=90)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("umh_shm_helper", "umh_shm_helper"),
        ("größe 大小 \N{SNOWMAN}", "größe 大小 \N{SNOWMAN}"),
        ("C:\\x1b", "C:\\x1b"),
        ("\x1b\n\x9b", "\\x1b\\x0a\\x9b"),
        ("\u202e\u2066\u2028", "\\u202e\\u2066\\u2028"),
        ("\udc80\U000e0001", "\\udc80\\U000e0001"),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize("text", [HOSTILE, "größe", "\U000e0001\udc80", "\ud800", "a\x7fb\x9b"])
def test_json_text(text: str) -> None:
    plain = json.dumps([text], ensure_ascii=False, indent=2)
    assert json.loads(printable_json(plain)) == [text]


def test_no_text_passes_by() -> None:
    """rich's own Text and Console do not escape."""
    room = Path(pageproof.__file__).parent
    others = re.compile(r"import rich|from rich")
    found = {path.name for path in room.rglob("*.py") if others.search(path.read_text())}
    assert found == {"textform.py"}

# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of setup/check_docs.py and setup/rule_tables.py: each check fires, and sound texts pass."""

import ast
from pathlib import Path

import check_docs
import pytest
import rule_tables
from check_docs import (
    README_LINES,
    WIDTH,
    command_faults,
    folder_faults,
    known_commands,
    length_faults,
    room_faults,
    transcript_faults,
    width_faults,
)
from transcripts import CLONE

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("verify", "walk", "lab")
MARKED = "<!-- transcript {}\n$ {}\n-->\n```console\n$ x\noutput\n```\n"


def whats(faults: object) -> list[str]:
    assert hasattr(faults, "__iter__")
    return [what for _, what in faults]


def test_the_documents_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all commands have sections, all rules a row."""
    monkeypatch.setattr("sys.argv", ["check_docs.py"])
    assert check_docs.main() == 0


def test_width() -> None:
    long = "x" * WIDTH
    assert list(width_faults(f"{long}\n| {long} |\n```\n{long}!\n```\n<!-- {long} -->\n")) == []
    assert list(width_faults(f"<!--\n{long}!\n-->\n")) == []
    assert list(width_faults(f"\n{long}!\n")) == [(2, "101 columns; prose is wrapped at 100")]
    assert next(width_faults(f"```\n```\n{long}!\n"))[0] == 3
    assert list(width_faults("…" * WIDTH)) == []


def test_length() -> None:
    assert list(length_faults("x\n" * README_LINES)) == []
    assert "151 lines" in whats(length_faults("x\n" * (README_LINES + 1)))[0]


def test_commands_and_sections() -> None:
    text = "## `verify`\n## `walk`\n## `lab`\n`lab up`, `lab exec -- COMMAND`\n"
    assert list(command_faults(text, COMMANDS, {"lab": ("up", "exec")})) == []
    assert whats(command_faults(text, (*COMMANDS, "maps"), {})) == [
        "command maps: there is no heading '## `maps`'"
    ]
    assert list(command_faults(text, ("walk", "lab"), {})) == [
        (1, "section verify: there is no such command")
    ]
    assert whats(command_faults(text, COMMANDS, {"lab": ("down",)})) == [
        "command lab down: it is not described"
    ]


def test_folders() -> None:
    text = "```\ndocs/        text\ntests/       tests\n  unit/      more\n```\n"
    folders = {"docs", "tests", "tests/unit"}
    assert list(folder_faults(text, folders)) == []
    assert list(folder_faults(text, folders | {"tests/live"})) == [
        (1, "folder tests/live/: the tree has no line for it")
    ]
    assert list(folder_faults(text, folders - {"tests/unit"})) == [
        (4, "tests/unit/: there is no such folder")
    ]


@pytest.mark.parametrize(
    "text",
    [
        MARKED.format("g", "pageproof --qemu /tmp/vm.sock walk $ADDRESS --pid $PID"),
        MARKED.format("g", "pageproof -c vmcore walk x"),
        MARKED.format("g", "make demo"),
        "```console\n$ pageproof walk x\n# pageproof verify \\\n    --pid 1\nguest# true\n```\n",
        "```sh\npageproof --qemu SOCKET -s FILE verify | less\noutput\n```\n",
        "```console\n$ pageproof --version\n$ pageproof [TARGET] COMMAND\n```\n",
        "```console\n$ pageproof … verify\n```\n",
    ],
)
def test_sound(text: str) -> None:
    assert list(transcript_faults(text, {"g"}, COMMANDS)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (MARKED.format("h", "pageproof walk x"), "guest h: no document defines it"),
        (MARKED.format("g", "pageproof wlak x"), "wlak"),
        (MARKED.format("g", "pageproof walk x --pids 1"), "--pids"),
        (MARKED.format("g", "pageproof walk x").replace("```console", "\n```console"), "comment"),
        ("```console\n$ pageproof wlak x\n```\n", "pageproof has no command 'wlak'"),
        ("```sh\npageproof -c vmcore wlak x\n```\n", "pageproof has no command 'wlak'"),
        ("```console\n$ pageproof walk x\noutput\n```\n", "output without a transcript's comment"),
    ],
)
def test_faulty(text: str, what: str) -> None:
    (found,) = whats(transcript_faults(text, {"g", CLONE}, COMMANDS))
    assert what in found


def test_paths_in_rooms() -> None:
    files = {"drgn_scripts/pageproof/render/sheet.py", "docs/kmap.md", "render/other.py"}
    sound = "`render/sheet.py` `render/` `render/<name>.py` `docs/x.md` `other/x.py` render/x.py\n"
    assert list(room_faults(sound, files)) == []
    for path in ("render/gone.py", "render/other.py", "render/gone/"):
        ((number, what),) = room_faults(f"\n`{path}`\n", files)
        assert number == 2
        assert what.startswith(f"{path}: no such file")


def test_the_order_of_rooms() -> None:
    """CONTRIBUTING has the floors of test_rooms.py, in their order."""
    source = (ROOT / "tests/setup/test_rooms.py").read_text()
    (floors,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    order = " → ".join(", ".join(rooms) for rooms in floors)
    assert order in " ".join((ROOT / "CONTRIBUTING.md").read_text().split())


def test_known_commands() -> None:
    assert {"verify", "diff", "explain", "lab"} <= set(known_commands())
    assert {"list", "up", "down", "demo"} <= set(known_commands("lab"))
    assert known_commands("kdump") == ["check", "setup", "remove", "load", "verify"]


def test_tables_of_rules() -> None:
    text = "<!-- table of rules: audit -->\n| old |\n\n<!-- table of rules: all -->\n"
    assert len(list(rule_tables.table_faults(text))) == 2
    new = rule_tables.filled(text)
    assert list(rule_tables.table_faults(new)) == []
    assert rule_tables.filled(new) == new
    assert "| old |" not in new
    broken = new.replace("| error |", "| note |", 1)
    ((number, what),) = rule_tables.table_faults(broken)
    assert number == 1
    assert "--write" in what
    assert "choose from" in whats(rule_tables.table_faults("<!-- table of rules: x -->\n"))[0]
    assert list(rule_tables.missing_faults([new])) == []
    assert "'all'" in next(rule_tables.missing_faults(["<!-- table of rules: audit -->\n"]))


def test_all_rules_are_in_the_tables() -> None:
    from pageproof.judge.audit import AUDIT_RULES
    from pageproof.judge.catalogue import RULES_BY_ID

    for rule in RULES_BY_ID.values():
        assert f"| `{rule.id}` | {rule.severity.value} |" in rule_tables.all_table()
    for rule in AUDIT_RULES:
        assert f"| `{rule.id}` |" in rule_tables.audit_table()

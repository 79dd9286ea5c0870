# SPDX-License-Identifier: GPL-2.0-or-later
"""A typo in each option of each command: one line, exit code 2, before a target is opened."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import pytest

from pageproof import cli
from pageproof.errors import Exit

#: A directory that does not exist.
NOWHERE: Final = "/nonexistent/file"
#: Values that are refused without a target, by option.
WRONG: Final = {
    "--after": ("sleep",),
    "--baseline": (NOWHERE,),
    "--compression": ("rar",),
    "--core": (NOWHERE, "/etc"),
    "--count": ("x", "0", "-1"),
    "--cpu": ("x", "-1"),
    "--crashkernel": ("x", "64", "1G-:"),
    "--debug-info": ("none",),
    "--device": ("1:x", "foo"),
    "--expect": ("readonly",),
    "--explain": ("phismap",),
    "--field": ("a b", "[0]", "payload[1:"),
    "--format": ("jsn",),
    "--frame": ("x", "-1"),
    "--gdb": (NOWHERE,),
    "--key": (NOWHERE,),
    "--kind": ("shmm",),
    "--known-hosts": (NOWHERE,),
    "--length": ("x", "0", "-5"),
    "--level": ("x", "32", "-1"),
    "--offset": ("x", "-1", "4096"),
    "--output": (NOWHERE, "/"),
    "--owner": ("user if", ""),
    "--page": ("x", "-1"),
    "--pid": ("x", "0", "-1"),
    "--program": (NOWHERE, "/etc", "/etc/passwd"),
    "--qemu": (NOWHERE,),
    "--ram": ("x", "0-fff", "0-ff0@0", "1000-fff@0", "0-fff@0"),
    "--root": (NOWHERE, "/etc/passwd"),
    "--rule": ("nosuch",),
    "--seconds": ("x", "0", "nan", "1e99"),
    "--skip": ("nosuch",),
    "--timeout": ("x", "-1"),
    "--to": ("relative", "partition:/etc", "ssh:a:b:c:d", "/a b", '/$x"'),
    "--walker": ("rust",),
    "--which-kernel": ("first",),
    "--with": ("tar",),
    "--write-baseline": (NOWHERE, "/"),
}
#: Any value may be right, or only the target shows that it is wrong.
FREE: Final = {"--kernel", "--name", "--pages", "--symbols", "--type", "--user"}
#: What a command needs besides the option that is tested.
NEEDED: Final = {
    "alias": ("0",),
    "diff": ("old.json", "new.json"),
    "kdump verify": (NOWHERE,),
    "maps": ("--pid", "1"),
    "walk": ("0",),
    "whatis": ("0",),
}
#: What an option needs besides itself.
MORE: Final = {
    "--expect": ("--device", "/dev/null"),
    "--offset": ("--length", "8"),
}
TARGET: Final = ""


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                if name != "lab":  # its commands are in a package that may be missing
                    one.fill()
            found = dict(action.choices)
            if "kdump" in found:
                for name, one in subcommands(found["kdump"]).items():
                    found[f"kdump {name}"] = one
            return found
    return {}


def options() -> Iterator[tuple[str, argparse.Action]]:
    """Yield (command, option) of all commands; the command is "" for an option of the target."""
    parser = cli.build_parser()
    of_all = {TARGET: parser, **subcommands(parser)}
    del of_all["lab"], of_all["kdump"]  # groups
    for command, one in of_all.items():
        for action in one._actions:
            if action.option_strings:
                yield command, action


def name_of(option: argparse.Action) -> str:
    """Return the long name of an option, if it has one."""
    return max(option.option_strings, key=len)


OPTIONS: Final = tuple(options())
LONG: Final = [(command, one) for command, one in OPTIONS if name_of(one).startswith("--")]
WITH_VALUE: Final = [(command, one) for command, one in OPTIONS if one.nargs is None]


def ids(value: Any) -> str:
    return name_of(value) if isinstance(value, argparse.Action) else str(value)


def words(command: str, *typed: str, needed: bool = True) -> list[str]:
    """Return a command line with what the user typed for a command, or for the target."""
    if command == TARGET:
        return [*typed, "verify"]
    return [*command.split(), *(NEEDED.get(command, ()) if needed else ()), *typed]


def error_of(typed: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a command line with a typo gives."""
    assert cli.main(typed) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("pageproof: error: ")
    return err.removeprefix("pageproof: error: ").rstrip("\n")


def test_all_commands_are_tested() -> None:
    assert {command for command, _ in OPTIONS} >= {"verify", "regions", "audit", "diff", TARGET}


@pytest.mark.parametrize(("command", "option"), LONG, ids=ids)
def test_a_typo_in_the_name(
    command: str, option: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    """It suggests an option, and shows where: of the target, or of which command."""
    name = name_of(option)
    typo = f"{name[:-1]}_"
    error = error_of(words(command, typo), capsys)
    where = f"pageproof {command}".rstrip()
    assert error.startswith(f"unknown option {typo}, {where}; did you mean --")
    parser = {TARGET: cli.build_parser(), **subcommands(cli.build_parser())}[command]
    known = [one for action in parser._actions for one in action.option_strings]
    assert error.endswith(f"did you mean {get_close_matches(typo, known, 1)[0]}?")


@pytest.mark.parametrize(("command", "option"), WITH_VALUE, ids=ids)
def test_no_value(
    command: str, option: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in option.option_strings:
        typed = [name] if command == TARGET else words(command, name, needed=False)
        error = error_of(typed, capsys)
        assert error.startswith(
            f"argument {'/'.join(option.option_strings)}: expected one argument"
        )
        assert error.endswith("--help")


@pytest.mark.parametrize(
    ("command", "option"), [(command, one) for command, one in LONG if one.nargs == 0], ids=ids
)
def test_a_value_for_an_option_without(
    command: str, option: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(words(command, f"{name_of(option)}=7"), capsys)
    assert "it takes no value, not '7'; see pageproof" in error


@pytest.mark.parametrize(("command", "option"), WITH_VALUE, ids=ids)
def test_a_wrong_value(
    command: str,
    option: argparse.Action,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line has the option or the value, and what to do; a target is not opened for it.

    If this fails for a new option, it belongs into WRONG or FREE.
    """
    name = name_of(option)
    assert (name in WRONG) != (name in FREE)

    def never(*_: object) -> None:
        pytest.fail("it opens the target before it refuses the value")

    if command != TARGET:
        monkeypatch.setattr(cli, "_open", lambda args: never)
    for value in WRONG.get(name, ()):
        more = MORE.get(name, ())
        error = error_of(words(command, *more, name, value), capsys)
        assert name in error or value in error
        assert "; " in error, "the line does not end in what to do"


def test_an_option_of_the_target_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(["verify", "-c", NOWHERE], capsys)
    assert error == "unknown option -c, pageproof verify; it belongs before the command"


def test_an_argument_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(["verify", "0"], capsys).startswith("unexpected argument '0', pageproof verify")


def test_the_lab_has_no_abbreviations(capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(["lab", "up", "--nam", "x"], capsys)
    assert error == "unknown option --nam, pageproof lab up; did you mean --name?"


def test_a_file_that_can_be_written_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check before the work neither creates nor empties it."""
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("old")
    for path in (new, old, Path("/dev/null")):
        assert "no such dump" in error_of(["-c", NOWHERE, "regions", "-o", str(path)], capsys)
    assert not new.exists()
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("--ram", "0-fff@0"), "--ram is for a raw image of memory; give the image with -c"),
        (
            ("--which-kernel", "crashed"),
            "--which-kernel is for a guest or an image of memory; add --qemu or -c",
        ),
    ],
)
def test_an_option_of_another_target(
    typed: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of([*typed, "verify"], capsys) == message

# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of setup/transcripts.py: what marks mean, and that nothing but the fences changes."""

from pathlib import Path

import pytest
from transcripts import Command, Host, TranscriptError, guest, guests_of, selected, transcripts_of

DOCUMENT = """\
# A title

<!-- guest small
pageproof lab up --name $LAB
echo "PID=7"
-->

<!-- transcript small
$ echo "one $PID"; echo two; echo three
show ^one
show three
$ (exit 3)
$ echo $?
-->
```console
old
```

Text.

```console
$ not marked
```
"""
LINES = "target\n\na 1\na 2\na 3\nend\nrest\n"


def command_with(*shows: str) -> Command:
    marks = "\n".join(("$ x", *(f"show {show}" for show in shows)))
    (one,) = transcripts_of(f"<!-- transcript g\n{marks}\n-->\n```console\n```\n")
    return one.commands[0]


def test_marks() -> None:
    assert guests_of(DOCUMENT) == {"small": 'pageproof lab up --name $LAB\necho "PID=7"'}
    (one,) = transcripts_of(DOCUMENT)
    assert one.guest == "small"
    assert [command.text for command in one.commands] == [
        'echo "one $PID"; echo two; echo three',
        "(exit 3)",
        "echo $?",
    ]
    assert DOCUMENT[one.start : one.end] == "old\n"


def test_a_run_fills_the_fence(tmp_path: Path) -> None:
    (one,) = transcripts_of(DOCUMENT)
    content = Host(tmp_path, {"PID": "7"}).run(one)
    assert content == (
        '$ echo "one 7"; echo two; echo three\none 7\n…\nthree\n$ (exit 3)\n$ echo $?\n3\n'
    )
    again = DOCUMENT[: one.start] + content + DOCUMENT[one.end :]
    (new,) = transcripts_of(again)
    assert Host(tmp_path, {"PID": "7"}).run(new) == content


def test_a_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its script is any shell; the lab is not needed for this."""
    monkeypatch.setattr("transcripts.tempfile.tempdir", str(tmp_path))
    script = 'echo "PID=7"\necho "verify from outside:  pageproof --qemu /x/qmp.sock verify"'
    with guest("small", script, "6.12") as host:
        assert host.shell("echo $PID $KERNEL; readlink vm.sock") == "7 6.12\n/x/qmp.sock\n"
        assert host.directory.parent == tmp_path
    with pytest.raises(TranscriptError, match="exit code 1"), guest("bad", "false", ""):
        pass
    with guest("clone", None, "6.12") as host:
        assert (host.directory / "setup/transcripts.py").exists()


@pytest.mark.parametrize(
    ("shows", "lines"),
    [
        ((), ["target", "", "a 1", "a 2", "a 3", "end", "rest"]),
        (("^a",), ["…", "a 1", "…"]),
        (("^a +1",), ["…", "a 1", "a 2", "…"]),
        (("^a .. ^end", "^target"), ["target", "…", "a 1", "a 2", "a 3", "end", "…"]),
        (("^rest +5",), ["…", "rest"]),
    ],
)
def test_selections(shows: tuple[str, ...], lines: list[str]) -> None:
    assert selected(LINES, command_with(*shows)) == lines


@pytest.mark.parametrize("show", ["nothing like it", "^a .. nothing like it"])
def test_a_selection_of_nothing_fails(show: str) -> None:
    with pytest.raises(TranscriptError, match="no line matches"):
        selected(LINES, command_with(show))


@pytest.mark.parametrize("command", ["no-such-command-anywhere", "(exit 2)", "(exit 70)"])
def test_a_failed_command_is_no_transcript(tmp_path: Path, command: str) -> None:
    (one,) = transcripts_of(f"<!-- transcript g\n$ {command}\n-->\n```console\n```\n")
    with pytest.raises(TranscriptError, match="exit code"):
        Host(tmp_path, {}).run(one)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<!-- transcript g\n$ x\n-->\n\nText\n", "not directly before"),
        ("<!-- transcript g\n$ x\n-->\n```sh\n```\n", "not directly before"),
        ("<!-- transcript g\nx\n-->\n```console\n```\n", "neither a command"),
        ("<!-- transcript g\nshow x\n-->\n```console\n```\n", "neither a command"),
    ],
)
def test_malformed(text: str, what: str) -> None:
    with pytest.raises(TranscriptError, match=what):
        list(transcripts_of(text))

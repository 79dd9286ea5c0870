# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks documents against the program: prose width, commands, transcripts, tables of rules.

Prints "file:line: what" for each fault; exit 1 if there is any. With ``--write`` the tables
of rules (setup/rule_tables.py) are written anew before.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import rule_tables
import transcripts
from check_sources import tracked_files

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [str(ROOT / name) for name in ("drgn_scripts", "kdump", "lab")]
sys.path[:0] = PACKAGES

WIDTH = 100
README_LINES = 150
COMMANDS = "docs/commands.md"
CONTRIBUTING = "CONTRIBUTING.md"
PACKAGE = "drgn_scripts/pageproof/"

_FENCE = re.compile(r" *```(\w*)")
_HEADING = re.compile(r"^## `([a-z]+)`$", re.M)
#: A line of the tree of folders: indented by two for each level.
_FOLDER = re.compile(r"((?:  )*)([\w.-]+)/  +\S")
_SPAN = re.compile(r"`([\w.-]+/[\w./-]*)`")
_PROMPT = re.compile(r"(?:\w*[#$] |\$$)")
#: A command of a document: at the beginning of a line or behind a prompt.
_PAGEPROOF = re.compile(r"^(?:\$ |# )?(?:sudo )?pageproof (.*)")
_TARGET_OPTIONS = frozenset(
    {"-c", "--core", "--qemu", "-s", "--symbols", "--debug-info", "--ram", "--which-kernel"}
)


def lines_outside(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of prose: not in fences, tables or comments."""
    end = None
    for number, line in enumerate(text.splitlines(), 1):
        if end:
            if end in line:
                end = None
        elif _FENCE.match(line):
            end = "```"
        elif line.startswith("<!--"):
            end = None if "-->" in line else "-->"
        elif not line.startswith("|"):
            yield number, line


def width_faults(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of prose that are too long."""
    for number, line in lines_outside(text):
        if len(line) > WIDTH:
            yield number, f"{len(line)} columns; prose is wrapped at {WIDTH}"


def length_faults(text: str) -> Iterator[tuple[int, str]]:
    """Yield a fault if README is too long."""
    lines = len(text.splitlines())
    if lines > README_LINES:
        yield README_LINES + 1, f"{lines} lines; {README_LINES} is the most"


def command_faults(
    text: str, commands: Collection[str], groups: Mapping[str, Collection[str]]
) -> Iterator[tuple[int, str]]:
    """Yield commands without a section in docs/commands.md, and sections without a command."""
    found = {match[1]: text.count("\n", 0, match.start()) + 1 for match in _HEADING.finditer(text)}
    for name in commands:
        if name not in found:
            yield 1, f"command {name}: there is no heading '## `{name}`'"
    for name, number in found.items():
        if name not in commands:
            yield number, f"section {name}: there is no such command"
    for group, names in groups.items():
        for name in names:
            if not re.search(rf"`{group} {name}\b", text):
                yield 1, f"command {group} {name}: it is not described"


def folder_faults(text: str, folders: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield folders that CONTRIBUTING's tree lacks, and lines of it without a folder."""
    found: dict[str, int] = {}
    way: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := _FOLDER.match(line):
            way = [*way[: len(match[1]) // 2], match[2]]
            found["/".join(way)] = number
    for name in sorted(folders):
        if name not in found:
            yield 1, f"folder {name}/: the tree has no line for it"
    for name, number in found.items():
        if name not in folders:
            yield number, f"{name}/: there is no such folder"


def room_faults(text: str, files: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield paths in code spans that begin with a room of the package and lead nowhere."""
    inside = {name.removeprefix(PACKAGE) for name in files if name.startswith(PACKAGE)}
    inside |= {parent.as_posix() for name in inside for parent in Path(name).parents}
    for number, line in enumerate(text.splitlines(), 1):
        for match in _SPAN.finditer(line):
            room, _, rest = match[1].partition("/")
            if rest and room in inside and match[1].rstrip("/") not in inside:
                yield number, f"{match[1]}: no such file in {PACKAGE}"


def transcript_faults(
    text: str, guests: Collection[str], commands: Collection[str]
) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with a document's transcripts and commands."""
    try:
        marked = list(transcripts.transcripts_of(text))
    except transcripts.TranscriptError as error:
        yield 1, str(error)
        return
    for one in marked:
        number = text.count("\n", 0, one.start)
        if one.guest not in guests:
            yield number, f"guest {one.guest}: no document defines it"
        for command in one.commands:
            match = _PAGEPROOF.match(command.text)
            if match and (what := usage_fault(match[1])):
                yield number, what
    ours = {text.count("\n", 0, one.start) for one in marked}
    for number, kind, lines in _fences(text):
        for offset, line in enumerate(lines):
            if (match := _PAGEPROOF.match(line)) and kind in ("console", "sh"):
                name = _command_of(match[1].split())
                if name and name not in commands:
                    yield number + 1 + offset, f"pageproof has no command {name!r}"
        if kind == "console" and number not in ours and any(_outputs(lines)):
            yield number, "output without a transcript's comment (setup/transcripts.py)"


def _fences(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (line number, kind, lines) of each fence."""
    lines: list[str] | None = None
    start, kind = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if match and lines is None:
            start, kind, lines = number, match[1], []
        elif match and lines is not None:
            yield start, kind, lines
            lines = None
        elif lines is not None:
            lines.append(line)


def _outputs(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a console that are neither a command nor go on with one."""
    goes_on = False
    for line in lines:
        if not goes_on and not _PROMPT.match(line):
            yield line
        goes_on = line.endswith("\\")


def _command_of(words: Sequence[str]) -> str | None:
    """The command behind the target's options; None if it is left out or an option."""
    rest = iter(words)
    for word in rest:
        if word in _TARGET_OPTIONS:
            next(rest, None)
        elif not word.startswith("-") and word != "…":
            return word if re.fullmatch(r"[a-z]+", word) else None
    return None


def usage_fault(line: str) -> str | None:
    """Return what the command line's parser says against a command, or None."""
    from pageproof.cli import build_parser
    from pageproof.errors import PageproofError

    words = [re.sub(r"\$[A-Z]+", "1", word) for word in shlex.split(line)]
    if _command_of(words) == "lab":  # its options belong to another package
        return None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            build_parser().parse_args(words)
    except PageproofError as error:
        return f"pageproof {line}: {error}"
    return None


def known_commands(*words: str) -> list[str]:
    """Return the commands that ``pageproof WORDS --help`` lists."""
    done = subprocess.run(
        [sys.executable, "-m", "pageproof", *words, "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PACKAGES)},
        check=True,
        capture_output=True,
        text=True,
    )
    return re.findall(r"^    ([a-z]+)(?: |$)", done.stdout, re.M)


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description="Checks documents against the program.")
    parser.add_argument("--write", action="store_true", help="write the tables of rules anew")
    arguments = parser.parse_args()

    paths = [path for path in tracked_files(ROOT) if path.suffix == ".md"]
    if arguments.write:
        for path in paths:
            path.write_text(rule_tables.filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    commands = known_commands()
    groups = {name: known_commands(name) for name in ("kdump", "lab")}
    guests = {transcripts.CLONE}.union(*map(transcripts.guests_of, texts.values()))
    every = [path.relative_to(ROOT) for path in tracked_files(ROOT)]
    files = {path.as_posix() for path in every}
    folders = {one.as_posix() for path in every for one in path.parents} - {"."}
    faults: list[tuple[str, int, str]] = []
    for name, text in texts.items():
        found = [*width_faults(text), *transcript_faults(text, guests, commands)]
        found += [*rule_tables.table_faults(text), *room_faults(text, files)]
        found += length_faults(text) if name == "README.md" else ()
        found += command_faults(text, commands, groups) if name == COMMANDS else ()
        found += folder_faults(text, folders) if name == CONTRIBUTING else ()
        faults += [(name, number, what) for number, what in found]
    faults += [("docs", 1, what) for what in rule_tables.missing_faults(texts.values())]
    for name, number, what in faults:
        print(f"{name}:{number}: {what}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

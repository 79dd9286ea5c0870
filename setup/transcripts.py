# SPDX-License-Identifier: GPL-2.0-or-later
"""Produce the transcripts in the documents: boot guests, run the commands, rewrite the fences.

Two kinds of HTML comments control it. A guest, for all documents: shell lines boot it under the
lab's name $LAB. What they print as NAME=VALUE is a variable of its transcripts:
    <!-- guest NAME
    pageproof lab up --name $LAB --kernel $KERNEL
    echo "HELPER=$(pageproof lab exec --name $LAB -- pidof umh_shm_helper)"
    -->

A transcript, directly before a console fence, whose content is replaced:
    <!-- transcript NAME
    $ pageproof --qemu vm.sock maps --pid $HELPER
    show ^target .. ^tables
    show heap +2
    -->

``show`` selects lines of the command above it: the first line that matches a regular expression,
and the lines up to the next match of a second one, or a number of lines. Lines that are left out
become "…". Without ``show`` everything is printed. vm.sock is the guest's QMP socket, after what
its shell lines print. The guest CLONE is the host, in the clone.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLONE = "clone"
LEFT_OUT = "…"
#: Exit codes of pageproof and of the shell that mean that there is nothing to show.
FAILED = frozenset({2, 70, 126, 127, 130})
DEADLINE_SECONDS = 900

_GUEST = re.compile(r"^<!-- guest (?P<name>\S+)\n(?P<script>.*?)\n-->$", re.M | re.S)
_TRANSCRIPT = re.compile(
    r"^<!-- transcript (?P<guest>\S+)\n(?P<lines>.*?)\n-->\n```console\n(?P<old>.*?)^```$",
    re.M | re.S,
)
_VARIABLE = re.compile(r"\$([A-Z]+)\b")
_SOCKET = re.compile(r"^verify from outside: .*--qemu (\S+) ", re.M)


class TranscriptError(Exception):
    """A mark is malformed, or a command failed."""


@dataclass(frozen=True)
class Command:
    """A command and the selections of its output: (first, last or None, lines after first)."""

    text: str
    shows: tuple[tuple[re.Pattern[str], re.Pattern[str] | None, int], ...] = ()


@dataclass(frozen=True)
class Transcript:
    """A marked fence: where it is in its document, and what produces its content."""

    guest: str
    commands: tuple[Command, ...]
    start: int
    end: int


def guests_of(text: str) -> dict[str, str]:
    """Return the guests that a document defines: name to shell script."""
    return {match["name"]: match["script"] for match in _GUEST.finditer(text)}


def transcripts_of(text: str) -> Iterator[Transcript]:
    """Yield the marked fences of a document; start and end are offsets of the fence's content.

    Raises:
        TranscriptError: a mark has no console fence directly after it, or a line that is neither a
            command nor a selection.
    """
    found = list(_TRANSCRIPT.finditer(text))
    if len(found) != len(re.findall(r"^<!-- transcript\b", text, re.M)):
        raise TranscriptError("a transcript's comment is not directly before a console fence")
    for match in found:
        commands = tuple(_commands(match["lines"]))
        yield Transcript(match["guest"], commands, match.start("old"), match.end("old"))


def _commands(lines: str) -> Iterator[Command]:
    command: Command | None = None
    for line in lines.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "$":
            if command:
                yield command
            command = Command(rest)
        elif kind == "show" and command:
            command = Command(command.text, (*command.shows, _show(rest)))
        else:
            raise TranscriptError(f"neither a command nor a selection of its output: {line!r}")
    if command:
        yield command


def _show(text: str) -> tuple[re.Pattern[str], re.Pattern[str] | None, int]:
    if match := re.fullmatch(r"(.+) \+(\d+)", text):
        return re.compile(match[1]), None, int(match[2])
    first, _, last = text.partition(" .. ")
    return re.compile(first), re.compile(last) if last else None, 0


def selected(output: str, command: Command) -> list[str]:
    """Return the lines of a command's output that the document shows.

    Raises:
        TranscriptError: a selection matches nothing.
    """
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    if not command.shows:
        return lines
    keep: set[int] = set()
    for first, last, more in command.shows:
        start = next((n for n, line in enumerate(lines) if first.search(line)), len(lines))
        end = start
        if last:
            after = range(start + 1, len(lines))
            end = next((n for n in after if last.search(lines[n])), len(lines))
        if end == len(lines):
            raise TranscriptError(f"{command.text}: no line matches {first.pattern!r}:\n{output}")
        keep.update(range(start, end + more + 1))
    shown: list[str] = []
    for number, line in enumerate(lines):
        if number in keep:
            shown.append(line)
        elif shown[-1:] != [LEFT_OUT]:
            shown.append(LEFT_OUT)
    return shown


class Host:
    """Where commands run: a directory, and variables for them."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self.directory = directory
        self.variables = dict(variables)

    def run(self, transcript: Transcript) -> str:
        """Run the commands in one shell; return the content of the fence."""
        texts = [self._filled(command.text) for command in transcript.commands]
        step = "{}\ncode=$?; printf '\\0%d\\0' $code; (exit $code)\n"
        parts = self.shell("exec 2>&1\n" + "".join(map(step.format, texts)) + "exit 0").split("\0")
        content = ""
        for text, command, output, code in zip(
            texts, transcript.commands, parts[::2], parts[1::2], strict=False
        ):
            if int(code) in FAILED:
                raise TranscriptError(f"{text}: exit code {code}:\n{output}")
            content += "".join(f"{line}\n" for line in (f"$ {text}", *selected(output, command)))
        return content

    def shell(self, script: str) -> str:
        """Run a script; return what it prints on standard output.

        Raises:
            TranscriptError: its exit code is not 0.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        environment |= self.variables
        environment["PATH"] = f"{ROOT / 'build/bin'}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise TranscriptError(f"exit code {done.returncode}: {script}\n{done.stdout}")
        return done.stdout

    def _filled(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self.variables.get(match[1], match[0]), text)


@contextlib.contextmanager
def guest(name: str, script: str | None, kernel: str) -> Iterator[Host]:
    """Boot a guest, and end it; without a script it is the clone itself."""
    if script is None:
        yield Host(ROOT, {"KERNEL": kernel})
        return
    with tempfile.TemporaryDirectory(prefix="transcripts-") as directory:
        lab = f"transcripts-{name}-{os.getpid()}"
        host = Host(Path(directory), {"LAB": lab, "KERNEL": kernel, "ROOT": str(ROOT)})
        try:
            said = host.shell(f"set -euo pipefail\n{script}")
            host.variables |= dict(re.findall(r"^([A-Z]+)=(.*)$", said, re.M))
            link = host.directory / "vm.sock"
            if (match := _SOCKET.search(said)) and not link.is_symlink():
                link.symlink_to(match[1])
            yield host
        finally:  # a guest that crashed is gone already
            with contextlib.suppress(TranscriptError):
                host.shell(f"pageproof lab down --name {lab} 2> /dev/null")


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description="Produce the transcripts in the documents.")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL") or "6.12")
    parser.add_argument("documents", nargs="*", type=Path, help="(default: all)")
    arguments = parser.parse_args()
    every = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    scripts = {k: v for path in every for k, v in guests_of(path.read_text()).items()}
    documents = [path.resolve() for path in arguments.documents] or every
    wanted = [one for path in documents for one in transcripts_of(path.read_text())]
    contents: dict[tuple[str, tuple[Command, ...]], str] = {}
    failed = False
    for name in dict.fromkeys(one.guest for one in wanted):
        print(f"guest {name}", flush=True)
        try:
            with guest(name, scripts.get(name), arguments.kernel) as host:
                for one in (one for one in wanted if one.guest == name):
                    print(f"  {one.commands[-1].text}", flush=True)
                    contents[name, one.commands] = host.run(one)
        except TranscriptError as error:
            failed = True
            print(f"transcripts: error: {error}", file=sys.stderr)
    for path in documents:
        text = path.read_text()
        for one in reversed(list(transcripts_of(text))):
            content = contents.get((one.guest, one.commands), text[one.start : one.end])
            text = text[: one.start] + content + text[one.end :]
        path.write_text(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""All formats that makedumpfile writes, made on the host from one dump; and reports compared."""

import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import Json, number

from pageproof.space.units import PAGE_BYTES

LEVELS = (0, 1, 17, 23, 31)
#: KiB. By default a machine of less than some GiB is in one part, and the others are empty.
SPLIT_BLOCK = "1024"


@dataclass(frozen=True)
class Form:
    """A format, by makedumpfile's options.

    Attributes:
        name: in the table.
        options: of makedumpfile.
        parts: number of files of a split dump.
        flattened: makedumpfile writes to its standard output.
        needs: a library that makedumpfile may have been built without. It then takes the option,
            and does not compress.
    """

    name: str
    options: tuple[str, ...]
    parts: int = 1
    flattened: bool = False
    needs: str = ""


FORMS = (
    Form("ELF (-E)", ("-E",)),
    Form("kdump, not compressed", ()),
    Form("kdump, zlib (-c)", ("-c",)),
    Form("kdump, lzo (-l)", ("-l",), needs="lzo"),
    Form("kdump, snappy (-p)", ("-p",), needs="snappy"),
    Form("kdump, zstd (-z)", ("-z",), needs="zstd"),
    Form("flattened ELF (-F -E)", ("-F", "-E"), flattened=True),
    Form("flattened lzo (-F -l)", ("-F", "-l"), flattened=True),
    Form("split in 3 (-l --split)", ("-l", "--split", "--splitblock-size", SPLIT_BLOCK), parts=3),
)


class CannotWrite(Exception):
    """makedumpfile failed; the message is its own."""


@contextmanager
def written(
    program: Sequence[str], form: Form, source: Path, into: Path, level: int
) -> Iterator[list[Path]]:
    """Convert a dump; the files are removed at the end.

    Raises:
        CannotWrite: makedumpfile does not write this.
    """
    files = [into / f"part{part}" for part in range(form.parts)]
    command = [*program, "--message-level", "4", "-f", *form.options, "-d", str(level), str(source)]
    try:
        if form.flattened:
            with files[0].open("wb") as out:
                done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
            said = done.stderr
        else:
            ran = subprocess.run([*command, *map(str, files)], capture_output=True, check=False)
            done, said = ran, ran.stdout + ran.stderr
        if done.returncode:
            raise CannotWrite(said.decode(errors="replace").strip().splitlines()[0])
        yield files
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def cores(files: Sequence[Path]) -> list[str]:
    """Return the options that name a dump in some files."""
    return [word for file in files for word in ("-c", str(file))]


#: A process, an address, and the page of the mapping.
Place = tuple[int, int]


def said_of_pages(report: Json) -> dict[Place, str]:
    """Return SAME, DIFFERENT or the reason of UNKNOWN of each page: by process and address."""
    found: dict[Place, str] = {}
    for region in report["regions"]:
        for use in region["uses"]:
            mapping = report["mappings"][use["mapping"]]
            at = number(mapping["vma"]["start"])
            for run in use["runs"]:
                for _ in range(run["pages"]):
                    said = run["reason"] or run["verdict"]
                    key = mapping["pid"], at
                    # Two regions may claim one page; the more definite word is compared.
                    if found.get(key) not in ("SAME", "DIFFERENT"):
                        found[key] = said
                    at += PAGE_BYTES
    return found


DECIDED = ("SAME", "DIFFERENT")


@dataclass(frozen=True)
class Compared:
    """A report of a dump, compared with that of the live guest or of the whole dump.

    Attributes:
        equal: pages of which both say the same.
        unknown: pages that only the other one decides; reason -> pages.
        lost: pages that the dump's report does not have.
        wrong: pages of which it says what the other one does not.
    """

    equal: int
    unknown: dict[str, int]
    lost: int
    wrong: list[tuple[Place, str, str]]


def compare(whole: Json, report: Json, pids: Collection[int] | None = None) -> Compared:
    """Compare the verdicts of each page.

    Args:
        whole: what must be said.
        report: what a dump's report says.
        pids: leave out other processes.
    """
    expected, said = said_of_pages(whole), said_of_pages(report)
    unknown: dict[str, int] = {}
    wrong = []
    equal = lost = 0
    for place, was in expected.items():
        now = said.get(place)
        if now is None:
            lost += 1
        elif now == was:
            equal += 1
        elif now in DECIDED:
            wrong.append((place, was, now))
        else:
            unknown[now] = unknown.get(now, 0) + 1
    wrong += [
        (place, "", now)
        for place, now in said.items()
        if place not in expected and now in DECIDED and (pids is None or place[0] in pids)
    ]
    return Compared(equal, unknown, lost, wrong)


def admits(report: Json) -> bool:
    """Whether a report has a finding that something could not be read or decided."""
    return any(one["severity"] in ("warning", "error") for one in report["findings"])

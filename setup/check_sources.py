# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the tracked files for faults that no other tool reports.

Sources: licence line, length, white space. Sources and documents: references exist.
Prints "file:line: what" for each fault; exit 1 if there is any.
With ``--list shell`` it prints the shell scripts instead, including those without a suffix.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from check_links import Project, link_faults

MAX_LINES = 500
"""Most files have fewer than 300 lines."""

SOURCE_NAMES = frozenset({"Makefile", "Kbuild", "Kconfig"})
SOURCE_SUFFIXES = frozenset(
    {".py", ".pyi", ".c", ".h", ".S", ".lds", ".sh", ".mk", ".toml", ".rules", ".conf", ".service"}
)
GENERATED = frozenset(f"setup/requirements{which}.txt" for which in ("", "-dev", "-mutation"))

SPDX = re.compile(r"^(?:#|//|/\*|\.\.) ?SPDX-License-Identifier: (?P<licence>.+?)(?: \*/)?$")
LEFT_OPEN = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")


def tracked_files(root: Path) -> list[Path]:
    """Return the files of the clone at root that are committed, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = {root / name for name in names.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def first_line(path: Path) -> str:
    """Return the first line of a file, without the line end; "" if it is not text."""
    with path.open("rb") as file:
        try:
            return file.readline(200).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return ""


def is_shell(path: Path) -> bool:
    """Return whether a file is a shell script: by suffix, or by its interpreter line."""
    return path.suffix == ".sh" or bool(re.match(r"#!.*\b(?:ba|da)?sh\b", first_line(path)))


def is_source(path: Path) -> bool:
    """Return whether a file is source: by suffix, name or interpreter line."""
    return (
        path.suffix in SOURCE_SUFFIXES
        or path.name in SOURCE_NAMES
        or first_line(path).startswith("#!")
    )


def licence_fault(name: str, lines: list[str]) -> str | None:
    """Return what is wrong with the licence line: the first, or the second after a #! line."""
    where = 1 if lines and lines[0].startswith("#!") else 0
    match = SPDX.match(lines[where]) if len(lines) > where else None
    if match is None:
        return "no SPDX-License-Identifier in the first line"
    if name.startswith("module/"):
        # The kernel's own rule for the comment: Documentation/process/license-rules.rst.
        if not match["licence"].startswith("GPL-2.0"):
            return f"licence {match['licence']}: the module is GPL-2.0"
        if name.endswith(".c") and not lines[where].startswith("//"):
            return "in a .c file the SPDX line is a // comment"
        if name.endswith((".h", ".S")) and not lines[where].startswith("/*"):
            return "in a .h or .S file the SPDX line is a /* */ comment"
    elif match["licence"] != "GPL-2.0-or-later":
        return f"licence {match['licence']}: outside module/ it is GPL-2.0-or-later"
    return None


def faults(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, what is wrong) for one source file.

    name: path from the top of the clone, with slashes. text: its content.
    """
    lines = text.split("\n")
    ends_well = lines[-1] == ""
    if ends_well:
        lines.pop()
    licence = licence_fault(name, lines)
    if licence:
        yield 1, licence
    if len(lines) > MAX_LINES:
        yield MAX_LINES + 1, f"{len(lines)} lines; the limit is {MAX_LINES}"
    if not ends_well:
        yield len(lines), "no newline at the end"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "white space at the end of the line"
        if match := LEFT_OPEN.search(line):
            yield number, f"{match[0]}: do it, or file an issue"


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        description="Checks licence lines, length, white space and links."
    )
    parser.add_argument("--list", choices=["shell"], help="print the files of a kind instead")
    arguments = parser.parse_args()

    root = Path(__file__).resolve().parent.parent
    files = tracked_files(root)
    if arguments.list:
        print(*(path.relative_to(root) for path in files if is_shell(path)), sep="\n")
        return 0
    names = {path.relative_to(root).as_posix(): path for path in files}
    project = Project(
        {n: p.read_text(encoding="utf-8") if n.endswith(".md") else "" for n, p in names.items()}
    )
    found = 0
    for name, path in names.items():
        source = name not in GENERATED and is_source(path)
        if not source and not name.endswith(".md"):
            continue
        text = path.read_text(encoding="utf-8")
        for number, what in (
            *(faults(name, text) if source else ()),
            *link_faults(name, text, project),
        ):
            print(f"{name}:{number}: {what}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""Change files all together or not at all, and restore exactly what was there.

What a change replaced is kept in a journal, which is written before the first file changes. So a
change that was interrupted at any point can be undone too.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pageproof.errors import PageproofError

JOURNAL: Final = "var/lib/pageproof/kdump/changes.json"
_VERSION: Final = 1
_NEW: Final = ".pageproof-new"


@dataclass(frozen=True)
class Change:
    """A file as it shall be.

    Attributes:
        path: without the leading slash.
        content: its bytes; of a symbolic link its target.
        permissions: its mode bits.
        is_link: it is a symbolic link.
    """

    path: str
    content: bytes
    permissions: int = 0o644
    is_link: bool = False


@dataclass(frozen=True)
class _State:
    """A file as it is; `content` is None if there is none."""

    content: bytes | None
    permissions: int = 0
    is_link: bool = False

    @property
    def digest(self) -> str:
        if self.content is None:
            return "none"
        kind = b"l" if self.is_link else b"f"
        return hashlib.sha256(kind + self.content).hexdigest()


def _state(path: Path) -> _State:
    if path.is_symlink():
        return _State(os.fsencode(path.readlink()), 0, True)
    try:
        return _State(path.read_bytes(), path.stat().st_mode & 0o7777)
    except FileNotFoundError:
        return _State(None)


def show(root: Path, changes: Iterable[Change]) -> Iterator[str]:
    """Yield the lines of a diff from the files as they are to the files as they shall be."""
    for change in changes:
        before = _state(root / change.path)
        name = f"/{change.path}"
        if change.is_link:
            yield f"{name} -> {os.fsdecode(change.content)}"
            continue
        yield from difflib.unified_diff(
            [] if before.content is None else _lines(before.content),
            _lines(change.content),
            "/dev/null" if before.content is None else name,
            name,
            lineterm="",
        )


def _lines(content: bytes) -> list[str]:
    return content.decode(errors="backslashreplace").splitlines()


def is_set_up(root: Path) -> bool:
    """Whether changes were made that can be undone."""
    return (root / JOURNAL).exists()


def apply(
    root: Path,
    changes: Sequence[Change],
    undo_commands: Sequence[Sequence[str]] = (),
    directories: Sequence[str] = (),
) -> None:
    """Make the changes, or none of them.

    Args:
        root: the tree.
        changes: what to write.
        undo_commands: for the journal: what to run after the files were restored.
        directories: to create, without the leading slash. They are removed again if they are empty.

    Raises:
        PageproofError: a file could not be written. All files are as they were.
    """
    entries = []
    wanted = (*(one.path for one in changes), JOURNAL, *(f"{one}/x" for one in directories))
    created = _missing_directories(root, wanted)
    for change in changes:
        before = _state(root / change.path)
        entries.append(
            {
                "path": change.path,
                "before": None
                if before.content is None
                else base64.b64encode(before.content).decode(),
                "permissions": before.permissions,
                "is_link": before.is_link,
                "after": _State(change.content, 0, change.is_link).digest,
            }
        )
    journal = {
        "version": _VERSION,
        "files": entries,
        "directories": created,
        "commands": undo_commands,
    }
    try:
        for directory in created:
            (root / directory).mkdir(0o755)
        for change in changes:
            _write_new(root / change.path, change)
        _write_new(root / JOURNAL, Change(JOURNAL, json.dumps(journal, indent=1).encode(), 0o600))
        _put(root / JOURNAL)
        for change in changes:
            _put(root / change.path)
    except BaseException as error:
        for path in (*(change.path for change in changes), JOURNAL):
            _new(root / path).unlink(missing_ok=True)
        if is_set_up(root):
            restore(root, read(root))
        else:
            _remove_directories(root, created)
        if isinstance(error, OSError):
            raise PageproofError(
                f"cannot write {error.filename}: {error.strerror}", "", "nothing was changed"
            ) from error
        raise


def _missing_directories(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the directories to create, each after its parent."""
    missing: dict[str, None] = {}
    for path in paths:
        for parent in reversed(Path(path).parents[:-1]):
            if not (root / parent).is_dir():
                missing[str(parent)] = None
    return list(missing)


def _new(path: Path) -> Path:
    return path.with_name(path.name + _NEW)


def _write_new(path: Path, change: Change) -> None:
    new = _new(path)
    new.unlink(missing_ok=True)
    if change.is_link:
        new.symlink_to(os.fsdecode(change.content))
        return
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        os.fchmod(file.fileno(), change.permissions)
        file.write(change.content)
        file.flush()
        os.fsync(file.fileno())


def _put(path: Path) -> None:
    _new(path).replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@dataclass(frozen=True)
class Journal:
    """What changed: (path, file before, digest after), and directories that were created."""

    files: tuple[tuple[str, _State, str], ...]
    directories: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...] = ()


def read(root: Path) -> Journal:
    """Return the journal of the changes.

    Raises:
        PageproofError: there is none, or it is damaged.
    """
    path = root / JOURNAL
    try:
        found: Any = json.loads(path.read_bytes())
        if found["version"] != _VERSION:
            raise ValueError(f"version {found['version']}")
        files = tuple(
            (_relative(one["path"]), _before(one), str(one["after"])) for one in found["files"]
        )
        commands = tuple(tuple(map(str, words)) for words in found["commands"])
        return Journal(files, tuple(_relative(one) for one in found["directories"]), commands)
    except FileNotFoundError:
        raise PageproofError(
            "kdump is not set up by pageproof: nothing to remove", f"no {path}"
        ) from None
    except OSError as error:
        raise PageproofError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PageproofError(
            f"{path} is damaged: {error!r}", "", "restore the files by hand (docs/kdump.md)"
        ) from error


def _relative(path: Any) -> str:
    if not isinstance(path, str) or path.startswith("/") or ".." in Path(path).parts:
        raise ValueError(f"not a path below the root: {path!r}")
    return path


def _before(one: dict[str, Any]) -> _State:
    if one["before"] is None:
        return _State(None)
    content = base64.b64decode(one["before"], validate=True)
    return _State(content, int(one["permissions"]) & 0o7777, bool(one["is_link"]))


def changed_since(root: Path, journal: Journal) -> list[str]:
    """Return the files that someone else changed after the set-up."""
    return [
        f"/{path}"
        for path, before, after in journal.files
        if _state(root / path).digest not in (before.digest, after)
    ]


def restore(root: Path, journal: Journal) -> None:
    """Restore all files and remove the directories that were created, as long as they are empty.

    Raises:
        PageproofError: a file could not be written. It can be repeated.
    """
    try:
        for path, before, _ in reversed(journal.files):
            _new(root / path).unlink(missing_ok=True)  # of a set-up that was killed
            if before.content is None:
                (root / path).unlink(missing_ok=True)
            elif _state(root / path) != before:
                _write_new(
                    root / path, Change(path, before.content, before.permissions, before.is_link)
                )
                _put(root / path)
        (root / JOURNAL).unlink(missing_ok=True)
    except OSError as error:
        raise PageproofError(
            f"cannot restore {error.filename}: {error.strerror}",
            "",
            "repeat pageproof kdump remove",
        ) from error
    _remove_directories(root, journal.directories)


def _remove_directories(root: Path, directories: Iterable[str]) -> None:
    for directory in reversed(tuple(directories)):
        with contextlib.suppress(OSError):  # not empty, or not there
            (root / directory).rmdir()

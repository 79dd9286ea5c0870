# SPDX-License-Identifier: GPL-2.0-or-later
"""Files change all together or not at all, and remove restores exactly what was there."""

import json
import os
from pathlib import Path

import pytest

from pageproof.errors import PageproofError
from pageproof_kdump.install import changes
from pageproof_kdump.install.changes import Change

CHANGES = (
    Change("etc/default/kdump-tools", b"new\n", 0o640),
    Change("etc/default/grub.d/zz.cfg", b"line\n"),
    Change("etc/systemd/system/wants/unit", b"/etc/systemd/system/unit", is_link=True),
)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return all that is below a directory: path -> mode with its type, content."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        else:
            content = b"" if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(root))] = path.lstat().st_mode, content
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    old = tmp_path / "etc/default/kdump-tools"
    old.write_bytes(b"old \xff, no newline")
    old.chmod(0o604)
    return tmp_path


def test_there_and_back(root: Path) -> None:
    before = tree(root)
    changes.apply(root, CHANGES, [("true", "x")])
    after = tree(root)
    for change in CHANGES:
        mode, content = after[change.path]
        assert content == change.content
        assert change.is_link or mode & 0o7777 == change.permissions
    assert changes.is_set_up(root)
    journal = changes.read(root)
    assert journal.commands == (("true", "x"),)
    assert changes.changed_since(root, journal) == []
    changes.restore(root, journal)
    assert tree(root) == before


@pytest.mark.parametrize("number", range(17))
def test_a_failure_at_any_point_leaves_everything_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Each call that writes fails once: a new file, a rename, a directory."""
    before = tree(root)
    calls = 0

    def failing(real: object) -> object:
        def call(*words: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number + 1:
                raise OSError(28, "No space left on device", str(words[0]))
            return real(*words, **named)  # type: ignore[operator]

        return call

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "mkdir")):
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    with pytest.raises(PageproofError, match="No space left on device; nothing was changed"):
        changes.apply(root, CHANGES)
    assert tree(root) == before


def test_killed_between_two_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a SIGKILL no code of ours runs. What is on the disk then can be undone."""
    before = tree(root)
    real = Path.replace
    done: list[Path] = []

    def replace(path: Path, target: Path) -> Path:
        if len(done) == 2:  # the journal and one file
            raise KeyboardInterrupt
        done.append(target)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(changes, "restore", lambda *_: None)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        changes.apply(root, CHANGES)
    monkeypatch.undo()
    assert done[0] == root / changes.JOURNAL
    assert changes.changed_since(root, changes.read(root)) == []
    changes.restore(root, changes.read(root))
    assert tree(root) == before


def test_changed_by_someone_else(root: Path) -> None:
    changes.apply(root, CHANGES)
    (root / "etc/default/grub.d/zz.cfg").write_bytes(b"mine\n")
    assert changes.changed_since(root, changes.read(root)) == ["/etc/default/grub.d/zz.cfg"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 5000,
        json.dumps({"version": 2}),
        json.dumps({"version": 1, "files": [{"path": "/etc/passwd"}]}),
        json.dumps(
            {"version": 1, "files": [{"path": "../x", "before": None, "after": ""}]}
            | {"directories": [], "commands": []}
        ),
    ],
)
def test_a_damaged_journal(root: Path, text: str) -> None:
    before = tree(root)
    journal = root / changes.JOURNAL
    journal.parent.mkdir(parents=True)
    journal.write_text(text)
    with pytest.raises(PageproofError, match="is damaged"):
        changes.read(root)
    assert before.items() <= tree(root).items()


def test_no_journal(root: Path) -> None:
    with pytest.raises(PageproofError, match="nothing to remove"):
        changes.read(root)

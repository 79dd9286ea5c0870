# SPDX-License-Identifier: GPL-2.0-or-later
"""A cpio archive in the format "newc", as the kernel unpacks it.

linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

_FILE: Final = stat.S_IFREG
_DIRECTORY: Final = stat.S_IFDIR
_END: Final = "TRAILER!!!"


def archive(files: Mapping[str, tuple[int, bytes]], directories: tuple[str, ...] = ()) -> bytes:
    """Return an archive. All in it belongs to root, and the same input gives the same bytes.

    Args:
        files: path, without a leading slash -> permissions, content.
        directories: more directories, which stay empty. Parents of files are made anyway.
    """
    parents = {
        str(parent)
        for path in (*files, *(f"{directory}/x" for directory in directories))
        for parent in PurePosixPath(path).parents
        if str(parent) != "."
    }
    # A directory comes before what is in it: its path is shorter.
    entries = [(path, _DIRECTORY | 0o755, b"") for path in sorted(parents)]
    entries += [
        (path, _FILE | permissions, content)
        for path, (permissions, content) in sorted(files.items())
    ]
    numbered = [_entry(number, *entry) for number, entry in enumerate(entries, 1)]
    return b"".join([*numbered, _entry(0, _END, 0, b"")])


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device, device of a node, length of the name, sum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

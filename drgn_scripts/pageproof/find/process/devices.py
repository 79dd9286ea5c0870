# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of character devices, from a VMA or from the path of a device node."""

from __future__ import annotations

import re
import stat
from typing import Final

import drgn
from drgn import container_of

from pageproof.find.bounded import hlist_entries, list_entries
from pageproof.find.process.paths import d_path, name_of, path_of
from pageproof.find.process.tasks import find_task

_NUMBERS: Final = re.compile(r"(\d+):(\d+)")
#: ``MINORBITS`` of include/linux/kdev_t.h.
_MINOR_BITS: Final = 20
#: ``MAXSYMLINKS`` of include/linux/namei.h.
_MAX_LINKS: Final = 40
#: Limit of mounts on one directory.
_MAX_MOUNTS: Final = 1 << 10
#: ``PATH_MAX``.
_PATH_BYTES: Final = 4096
_BROKEN: Final = (drgn.FaultError, LookupError, AttributeError, ValueError)


def parse_number(text: str) -> int | None:
    """Parse MAJOR:MINOR to a ``dev_t``; None if the text is something else."""
    match = _NUMBERS.fullmatch(text)
    return None if match is None else int(match[1]) << _MINOR_BITS | int(match[2])


def major_minor(number: int) -> tuple[int, int]:
    """Split a ``dev_t`` into major and minor number."""
    return number >> _MINOR_BITS, number & (1 << _MINOR_BITS) - 1


def number_words(number: int) -> str:
    """Return a ``dev_t`` as "MAJOR:MINOR"."""
    major, minor = major_minor(number)
    return f"{major}:{minor}"


def device_of(prog: drgn.Program, file: int) -> int | None:
    """Return ``dev_t`` of a character device that a ``struct file`` has opened, or None.

    Args:
        prog: the target.
        file: address of the file; 0 for none.
    """
    inode = _file(prog, file).f_inode if file else None
    if inode is None or not stat.S_ISCHR(int(inode.i_mode)):
        return None
    return int(inode.i_rdev)


def is_at_path(prog: drgn.Program, file: int, path: str) -> bool:
    """Return whether a path, seen from the root of the mount namespace, is or was that of a file.

    Args:
        prog: the target.
        file: address of ``struct file``.
        path: the path.
    """
    found = d_path(path_of(_file(prog, file))).removesuffix(b" (deleted)")
    return found == path.encode("utf-8", "surrogateescape")


def _file(prog: drgn.Program, file: int) -> drgn.Object:
    return drgn.Object(prog, "struct file *", file)


def number_of_node(prog: drgn.Program, path: str) -> int | None:
    """Return ``dev_t`` of a character device's node, looked up as PID 1 would.

    Returns:
        None if the path is not in the kernel's dcache, or the node is not a character device. All
        names of devtmpfs are in the dcache.
    """
    try:
        inode = _lookup(prog, path)
        if inode is not None and stat.S_ISCHR(int(inode.i_mode)):
            return int(inode.i_rdev)
    except _BROKEN:
        pass
    return None


def _lookup(prog: drgn.Program, path: str) -> drgn.Object | None:
    """Return ``struct inode *`` of an absolute path."""
    root = find_task(prog, 1).fs.root.read_()
    root_mount = container_of(root.mnt, "struct mount", "mnt")
    # drgn's path_lookup() starts at init_task's root, over which switch_root mounts another one,
    # and it does not follow symbolic links.
    todo = _components(path)
    place = [(root_mount, root.dentry)]
    links = 0
    while todo:
        name = todo.pop(0)
        if name == b"..":
            place = place[:-1] or place
            continue
        mount, dentry = place[-1]
        child = _child(dentry, name)
        if child is None or not child.d_inode:
            return None
        inode = child.d_inode
        if stat.S_ISLNK(int(inode.i_mode)):
            links += 1
            if links > _MAX_LINKS or not inode.i_link:
                return None
            target = prog.read_c_string(inode.i_link.value_(), max_size=_PATH_BYTES)
            if target.startswith(b"/"):
                place = place[:1]
            todo = [*_components(target.decode("utf-8", "surrogateescape")), *todo]
            continue
        place.append(_top(mount, child))
    _, dentry = place[-1]
    return dentry.d_inode


def _components(path: str) -> list[bytes]:
    parts = path.encode("utf-8", "surrogateescape").split(b"/")
    return [part for part in parts if part not in (b"", b".")]


def _child(dentry: drgn.Object, name: bytes) -> drgn.Object | None:
    try:
        # Since 6.8: da549bdd15c2 ("dentry: switch the lists of children to hlist")
        head = dentry.d_children.address_of_()
    except AttributeError:
        children = list_entries("struct dentry", dentry.d_subdirs.address_of_(), "d_child")
    else:
        children = hlist_entries("struct dentry", head, "d_sib")
    return next((child for child in children if name_of(child) == name), None)


def _top(mount: drgn.Object, dentry: drgn.Object) -> tuple[drgn.Object, drgn.Object]:
    """Follow the mounts on a directory to the topmost one."""
    for _ in range(_MAX_MOUNTS):
        children = list_entries("struct mount", mount.mnt_mounts.address_of_(), "mnt_child")
        over = next((child for child in children if child.mnt_mountpoint == dentry), None)
        if over is None:
            break
        mount, dentry = over, over.mnt.mnt_root
    return mount, dentry

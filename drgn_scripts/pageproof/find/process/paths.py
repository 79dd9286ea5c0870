# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of files as ``d_path()`` of fs/d_path.c returns them, and names of files without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn
from drgn import container_of

from pageproof.find.bounded import DamagedError
from pageproof.find.kernel.symbols import symbol_name

#: Limit of components and mounts. ``PATH_MAX`` is 4096, and a component has two bytes or more.
_MAX_STEPS: Final = 1 << 13
#: ``NAME_MAX`` is 255. Names that are not looked up may be longer, such as "memfd:" and 249 bytes.
_NAME_BYTES: Final = 512
#: ``DMA_BUF_NAME_LEN`` of include/linux/dma-buf.h
_DMA_BUF_NAME_BYTES: Final = 32
_DELETED: Final = b" (deleted)"


def path_of(file: drgn.Object) -> drgn.Object:
    """Return ``struct path`` of a file."""
    try:
        # Since "fs: rename f_path to __f_path" it is a union with both names.
        return file.f_path
    except AttributeError:
        return file.__f_path


def name_of(dentry: drgn.Object) -> bytes:
    """Return the name of a ``struct dentry *``, up to its length or a NUL.

    Raises:
        FaultError: the name cannot be read.
    """
    name = dentry.d_name
    length = min(int(name.len), _NAME_BYTES)
    data: bytes = dentry.prog_.read(name.name.value_(), length) if length else b""
    return data.partition(b"\0")[0]


def d_path(path: drgn.Object) -> bytes:
    """Return the path of a ``struct path`` from the root of its mounts, or its generated name.

    Raises:
        FaultError: the path cannot be read.
        DamagedError: the path does not end.
    """
    prog = path.prog_
    dentry = path.dentry.read_()
    maker = dentry.d_op.d_dname.value_() if dentry.d_op else 0
    # A file system with generated names may be mounted. Its root has a path.
    if maker and (dentry.d_parent != dentry or path.mnt.mnt_root != dentry):
        return _made_name(prog, maker, dentry)
    unlinked = not dentry.d_hash.pprev and dentry.d_parent != dentry
    text = b"".join(b"/" + name for name in reversed(list(_names(path, dentry)))) or b"/"
    return text + (_DELETED if unlinked else b"")


def _names(path: drgn.Object, dentry: drgn.Object) -> Iterator[bytes]:
    """Return the path's components from last to first, like ``__prepend_path()``."""
    mount = container_of(path.mnt.read_(), path.prog_.type("struct mount"), "mnt")
    names: list[bytes] = []
    for _ in range(_MAX_STEPS):
        if dentry == mount.mnt.mnt_root:
            parent = mount.mnt_parent.read_()
            if parent == mount:
                return iter(names)
            dentry, mount = mount.mnt_mountpoint.read_(), parent
            continue
        above = dentry.d_parent.read_()
        if above == dentry:
            return iter(())  # outside its mount: the kernel prints "/"
        names.append(name_of(dentry))
        dentry = above
    raise DamagedError(f"a path has more than {_MAX_STEPS} components")


def dentry_path(dentry: drgn.Object) -> bytes:
    """Return the path of a ``struct dentry *`` from the root of its file system, without "/".

    Raises:
        FaultError: the path cannot be read.
        DamagedError: the path does not end.
    """
    names: list[bytes] = []
    for _ in range(_MAX_STEPS):
        above = dentry.d_parent.read_()
        if above == dentry:
            return b"/".join(reversed(names))
        names.append(name_of(dentry))
        dentry = above
    raise DamagedError(f"a path has more than {_MAX_STEPS} components")


def inode_path(inode: drgn.Object) -> bytes | None:
    """Return one path of a ``struct inode *`` in its file system; None if it has no name.

    Raises:
        as :func:`dentry_path`.
    """
    first = inode.i_dentry.first.read_()
    if not first:
        return None
    kind = inode.prog_.type("struct dentry")
    # Since 7.1: 3b7d764a37d0 ("struct dentry: make ->d_u anonymous")
    member = "d_alias" if kind.has_member("d_alias") else "d_u.d_alias"
    return dentry_path(container_of(first, kind, member))


def _dma_buf_name(dentry: drgn.Object) -> bytes:
    """Return the name that DMA_BUF_SET_NAME gave, cut as in ``dmabuffs_dname()``."""
    name = drgn.cast("struct dma_buf *", dentry.d_fsdata).name.value_()
    if not name:
        return b""
    text: bytes = dentry.prog_.read_c_string(name, max_size=_DMA_BUF_NAME_BYTES - 1)
    return text


def _made_name(prog: drgn.Program, maker: int, dentry: drgn.Object) -> bytes:
    """Return the name that ``dentry_operations.d_dname`` generates.

    Pipes, pidfds and namespaces are not handled, because no process can map them. For an unknown
    function the result is its name and the file's own name, in brackets.
    """
    name = name_of(dentry)
    function = symbol_name(prog, maker)
    if function == "simple_dname":  # memfd, shared anonymous memory
        return b"/%b%b" % (name, _DELETED)
    if function == "anon_inodefs_dname":
        return b"anon_inode:%b" % name
    if function == "sockfs_dname":
        return b"socket:[%d]" % dentry.d_inode.i_ino.value_()
    if function == "dmabuffs_dname":
        return b"/%b:%b" % (name, _dma_buf_name(dentry))
    return b"[%b:%b]" % (function.encode(), name)

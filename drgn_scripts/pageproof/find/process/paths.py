# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of files as ``d_path()`` of fs/d_path.c makes them, and names of files without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn
from drgn import container_of

from pageproof.find.bounded import DamagedError
from pageproof.find.kernel.symbols import symbol_name

#: ``PATH_MAX`` is 4096, which no component can be shorter than a byte and its slash; mounts
#: on mounts add some.
_MAX_STEPS: Final = 1 << 13
#: ``NAME_MAX``, and more for what has a name that nobody looks up: a memfd's is "memfd:" and 249.
_NAME_BYTES: Final = 512
#: ``DMA_BUF_NAME_LEN`` of include/linux/dma-buf.h
_DMA_BUF_NAME_BYTES: Final = 32
_DELETED: Final = b" (deleted)"


def path_of(file: drgn.Object) -> drgn.Object:
    """``struct path`` of a file."""
    try:
        # "fs: rename f_path to __f_path" made it a union in newer kernels; both names serve.
        return file.f_path
    except AttributeError:
        return file.__f_path


def name_of(dentry: drgn.Object) -> bytes:
    """The name of a ``struct dentry *``, which ends at its length or at a NUL.

    Raises:
        drgn.FaultError: it cannot be read.
    """
    name = dentry.d_name
    length = min(int(name.len), _NAME_BYTES)
    data: bytes = dentry.prog_.read(name.name.value_(), length) if length else b""
    return data.partition(b"\0")[0]


def d_path(path: drgn.Object) -> bytes:
    """The path of a ``struct path`` from the root of its mounts; what has none has its name.

    Raises:
        drgn.FaultError: it cannot be read.
        DamagedError: the path has no end.
    """
    prog = path.prog_
    dentry = path.dentry.read_()
    maker = dentry.d_op.d_dname.value_() if dentry.d_op else 0
    # A file system of such files may be mounted; its root has a path.
    if maker and (dentry.d_parent != dentry or path.mnt.mnt_root != dentry):
        return _made_name(prog, maker, dentry)
    unlinked = not dentry.d_hash.pprev and dentry.d_parent != dentry
    text = b"".join(b"/" + name for name in reversed(list(_names(path, dentry)))) or b"/"
    return text + (_DELETED if unlinked else b"")


def _names(path: drgn.Object, dentry: drgn.Object) -> Iterator[bytes]:
    """The path's components, from the last to the first; ``__prepend_path()``."""
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
            return iter(())  # it has escaped from its mount: the kernel says "/"
        names.append(name_of(dentry))
        dentry = above
    raise DamagedError(f"a path has more than {_MAX_STEPS} components")


def dentry_path(dentry: drgn.Object) -> bytes:
    """The path of a ``struct dentry *`` from the root of its file system, without a "/" there.

    Raises:
        drgn.FaultError: it cannot be read.
        DamagedError: the path has no end.
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
    """Any path of a ``struct inode *`` from the root of its file system; None if it has no name.

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
    """The name that DMA_BUF_SET_NAME gave it, as much as ``dmabuffs_dname()`` copies."""
    name = drgn.cast("struct dma_buf *", dentry.d_fsdata).name.value_()
    if not name:
        return b""
    text: bytes = dentry.prog_.read_c_string(name, max_size=_DMA_BUF_NAME_BYTES - 1)
    return text


def _made_name(prog: drgn.Program, maker: int, dentry: drgn.Object) -> bytes:
    """What ``dentry_operations.d_dname`` says of a file that nobody can look up.

    Those of pipes, pidfds and namespaces are missing: no process can map these. What another
    function makes is not known: it and the file's own name are given, in brackets.
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

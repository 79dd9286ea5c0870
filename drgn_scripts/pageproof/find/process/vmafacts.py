# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about VMAs, from their records. What many VMAs have in common is read once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import drgn

from pageproof import arch
from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.layout import fields_of
from pageproof.find.bulk.protocol import VmaRecord
from pageproof.find.kernel.debuginfo import of_program
from pageproof.find.kernel.image import is_loaded
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.paths import name_of, path_of
from pageproof.find.words import VM_FLAGS, i_mode_words, vm_flags_words
from pageproof.model import FileFacts, VmaFacts
from pageproof.model.quick import quick
from pageproof.space.units import PAGE_BYTES

_facts: Final = quick(VmaFacts)
_OFFSET_MASK: Final = PAGE_BYTES - 1
#: How messages about a structure begin that has zeros where the kernel never leaves any.
ALL_ZEROS: Final = "memory that reads as zeros may be missing"


class Files:
    """The open files of one look, each read once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._f_ops: dict[int, int | str] = {}
        self._facts: dict[int, FileFacts] = {}

    def load(self, files: Iterable[int]) -> None:
        """Read the operations of many files in one call."""
        fresh = [one for one in set(files) if one and one not in self._f_ops]
        rows = bulk_of(self._prog).gather(fresh, fields_of(self._prog.type("struct file"), "f_op"))
        still = not self._prog.flags & drgn.ProgramFlags.IS_LIVE
        for number, (file, f_op) in enumerate(zip(fresh, rows.column(0), strict=True)):
            found = rows.faults.get(number, f_op)
            if found == 0 and still:
                found = f"{ALL_ZEROS}: its file has no operations"
            self._f_ops[file] = found

    def f_op(self, file: int) -> int:
        """Return the address of the ``struct file_operations`` of a file; 0 for no file.

        Raises:
            ValueError: it cannot be read.
        """
        if not file:
            return 0
        if file not in self._f_ops:
            self.load([file])
        found = self._f_ops[file]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def facts(self, file: int) -> FileFacts:
        """Return the facts of a file.

        Raises:
            FaultError: it cannot be read.
        """
        if file not in self._facts:
            self._facts[file] = file_facts(drgn.Object(self._prog, "struct file *", file))
        return self._facts[file]


class VmaReader:
    """Makes facts of the VMAs of one look."""

    def __init__(self, prog: drgn.Program, files: Files) -> None:
        self._prog, self._files = prog, files
        self._architecture = arch.of_program(prog)
        self._user_end = self._architecture.user_end
        #: The number itself, so that all facts share one object, and its words.
        self._flags: dict[int, tuple[int, str]] = {}
        self._prots: dict[int, tuple[int, str]] = {}
        #: Symbol of vm_ops, gone and has_fault, by vm_ops and f_op.
        self._operations: dict[tuple[int, int], tuple[str, tuple[tuple[str, int], ...], bool]] = {}

    def facts(self, vma: VmaRecord) -> VmaFacts:
        """Return facts about a VMA.

        Raises:
            ValueError: the data is not valid: it was created or freed while it was read.
            FaultError: its file or its operations cannot be read.
        """
        _, address, start, end, pgoff, flags, prot, ops, file_address, _ = vma
        if not start < end or (start | end) & _OFFSET_MASK or end > self._user_end:
            raise ValueError(f"a VMA from {start:#x} to {end:#x} is not valid")
        file = self._files.facts(file_address) if file_address else None
        key = ops, file.f_op if file else 0
        known = self._operations.get(key)
        if known is None:
            known = self._operations[key] = self._of_operations(*key)
        symbol, gone, has_fault = known
        flags_words = self._flags.get(flags)
        if flags_words is None:
            words = vm_flags_words(flags, _vm_flag_names(self._prog))
            flags_words = self._flags[flags] = flags, words
        prot_words = self._prots.get(prot)
        if prot_words is None:
            prot_words = self._prots[prot] = prot, self._architecture.page_prot_words(prot)
        return _facts(
            address,
            start,
            end,
            pgoff,
            *flags_words,
            *prot_words,
            symbol,
            file,
            gone,
            has_fault,
        )

    def _of_operations(self, ops: int, f_op: int) -> tuple[str, tuple[tuple[str, int], ...], bool]:
        prog = self._prog
        named = (("vm_ops", ops), ("f_op", f_op))
        gone = tuple(one for one in named if one[1] and not is_loaded(prog, one[1]))
        symbol = symbol_name(prog, ops) if ops else ""
        return symbol, gone, bool(gone) or _has_fault(prog, ops)


def _has_fault(prog: drgn.Program, address: int) -> bool:
    """Return whether a page fault in the VMA can get a page (``do_fault()`` of mm/memory.c)."""
    if not address:
        return True
    ops = drgn.Object(prog, "struct vm_operations_struct *", address)
    return bool(ops.fault) or bool(ops.huge_fault)


@of_program
def _vm_flag_names(prog: drgn.Program) -> dict[int, str]:
    """Return our table with names added from the target's enumerators (``VMA_*_BIT``, 7.0)."""
    names = {**VM_FLAGS, **arch.of_program(prog).vm_flags}
    try:
        enumeration = prog.constant("VMA_READ_BIT").type_
    except LookupError:
        return names
    for enumerator in enumeration.enumerators or ():
        name = enumerator.name.removeprefix("VMA_").removesuffix("_BIT")
        if not name.startswith(("ARCH_", "HIGH_ARCH_")):
            names.setdefault(enumerator.value, name)
    return names


def file_facts(file: drgn.Object) -> FileFacts:
    """Return facts about a ``struct file *``.

    Raises:
        FaultError: it cannot be read.
    """
    dentry = path_of(file).dentry.read_()
    inode = file.f_inode
    mode = inode.i_mode.value_()
    f_op = file.f_op.value_()
    return FileFacts(
        file=file.value_(),
        f_op=f_op,
        f_op_symbol=symbol_name(file.prog_, f_op),
        dentry_name=name_of(dentry).decode("utf-8", "surrogateescape"),
        inode=inode.value_(),
        inode_number=inode.i_ino.value_(),
        i_mode=mode,
        i_mode_words=i_mode_words(mode),
        private_data=file.private_data.value_(),
    )

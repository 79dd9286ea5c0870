# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a page is, as far as ``struct page`` has it, and whose copy of a variable is meant."""

from __future__ import annotations

import drgn
from drgn.helpers.linux.mm import compound_head, compound_nr, page_index, page_to_pfn, pfn_to_page

from pageproof.find.frame.free import FreeLists
from pageproof.find.process.paths import inode_path
from pageproof.model import FileFacts, StructPageFacts
from pageproof.model.whatis import OwnerFacts

#: ``PAGE_MAPPING_FLAGS`` of include/linux/page-flags.h: anonymous; with both bits KSM.
_ANONYMOUS, _FLAGS = 0x1, 0x3


def owner_facts(prog: drgn.Program, pfn: int, page: StructPageFacts) -> OwnerFacts:
    """Read what ``struct page`` says of its owner.

    Args:
        prog: the target.
        pfn: of the frame.
        page: its ``struct page``; the owner of a typed page has another place.

    Raises:
        FaultError: it can't be read.
    """
    block = FreeLists(prog).block(pfn) if page.buddy else None
    if block is not None:
        return OwnerFacts(free_order=block.order, free_cpu=block.cpu)
    own = pfn_to_page(prog, pfn)
    head = compound_head(own)
    if page.type_words == "table":
        return OwnerFacts(page_table=True)
    if page.mapcount is None or page.reserved or not page.refcount:
        return OwnerFacts()
    mapping = head.mapping.value_()
    kind = mapping & _FLAGS
    if kind or not mapping:
        return OwnerFacts(mapping, anonymous=bool(kind & _ANONYMOUS), ksm=kind == _FLAGS)
    inode = head.mapping.host.read_()
    # Others keep other things in this word: an address_space is its inode's own.
    if not inode or inode.i_mapping.value_() != mapping:
        return OwnerFacts(mapping)
    path = inode_path(inode)
    return OwnerFacts(
        mapping,
        inode_number=inode.i_ino.value_(),
        file_name="" if path is None else path.decode("utf-8", "replace"),
        offset_pages=_index_of(prog, pfn, head, inode),
    )


def _index_of(prog: drgn.Program, pfn: int, head: drgn.Object, inode: drgn.Object) -> int:
    """A page's place in its file: that of the head, as ``index`` of a tail is no such thing."""
    index = int(page_index(head).value_())
    kind = inode.i_sb.s_type.name.string_()
    if kind == b"hugetlbfs" and _counts_huge_pages(prog):
        index *= compound_nr(head).value_()
    return index + pfn - int(page_to_pfn(head).value_())


def _counts_huge_pages(prog: drgn.Program) -> bool:
    """Whether hugetlbfs numbers huge pages, and not pages: until 6.7 (a08c7193e4f1).

    The function that translates it went then; it had another name before 5.13 (fe19bd3dae3d).
    """
    for name in ("hugetlb_basepage_index", "__basepage_index"):
        try:
            prog.symbol(name)
        except LookupError:
            continue
        return True
    return False


def named_file_of(prog: drgn.Program, page: StructPageFacts, mapped: FileFacts) -> str:
    """A file that has a name, whose page cache a page is in, unless it is the mapped one.

    Files without a name (``shmem_file_setup()``, ``anon_inode_getfile()``) are drivers' own memory.

    Args:
        prog: the target.
        page: its ``struct page``.
        mapped: the file behind the mapping that has it.

    Returns:
        Its inode number and file system; "" if there is no such file.
    """
    if not page.mapping or page.mapping & _FLAGS or page.reserved:
        return ""
    try:
        if drgn.Object(prog, "struct file *", mapped.file).f_mapping.value_() == page.mapping:
            return ""
        inode = drgn.Object(prog, "struct address_space *", page.mapping).host.read_()
        if not inode or inode.i_mapping.value_() != page.mapping or not inode.i_nlink:
            return ""
        kind = inode.i_sb.s_type.name.string_().decode("ascii", "replace")
        return f"inode {inode.i_ino.value_()} of {kind}"
    except drgn.FaultError:
        return ""

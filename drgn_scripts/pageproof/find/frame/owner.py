# SPDX-License-Identifier: GPL-2.0-or-later
"""The owner of a page: the object that its ``struct page`` points to."""

from __future__ import annotations

import drgn
from drgn.helpers.linux.mm import compound_head, compound_nr, page_index, page_to_pfn, pfn_to_page

from pageproof.find.frame.flags import MAPPING_ANON
from pageproof.find.frame.free import FreeLists
from pageproof.find.process.paths import inode_path
from pageproof.find.strings import bytes_of, text_of
from pageproof.model import FileFacts, StructPageFacts
from pageproof.model.whatis import OwnerFacts

#: ``PAGE_MAPPING_FLAGS`` of include/linux/page-flags.h. Both bits set mean KSM.
_FLAGS = 0x3


def owner_facts(prog: drgn.Program, pfn: int, page: StructPageFacts) -> OwnerFacts:
    """Read the owner of a page from its ``struct page``.

    Args:
        prog: the target.
        pfn: the frame.
        page: its ``struct page``. Typed pages keep their owner elsewhere.

    Raises:
        FaultError: the data cannot be read.
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
        return OwnerFacts(mapping, anonymous=bool(kind & MAPPING_ANON), ksm=kind == _FLAGS)
    inode = head.mapping.host.read_()
    # Some users store something else in this word. An address_space is referenced by its inode.
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
    """Return a page's index in its file, from the head: the ``index`` of a tail page is invalid."""
    index = int(page_index(head).value_())
    kind = bytes_of(inode.i_sb.s_type.name)
    if kind == b"hugetlbfs" and _counts_huge_pages(prog):
        index *= compound_nr(head).value_()
    return index + pfn - int(page_to_pfn(head).value_())


def _counts_huge_pages(prog: drgn.Program) -> bool:
    """Return whether the index of hugetlbfs counts huge pages: before 6.7 (a08c7193e4f1).

    That commit removed the function that converts the index. Before 5.13 (fe19bd3dae3d) the
    function had another name.
    """
    for name in ("hugetlb_basepage_index", "__basepage_index"):
        try:
            prog.symbol(name)
        except LookupError:
            continue
        return True
    return False


def named_file_of(prog: drgn.Program, page: StructPageFacts, mapped: FileFacts) -> str:
    """Describe the named file whose page cache contains a page, unless it is the mapped file.

    Files without a name (``shmem_file_setup()``, ``anon_inode_getfile()``) hold a driver's own
    memory.

    Args:
        prog: the target.
        page: its ``struct page``.
        mapped: the file of the VMA that maps the page.

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
        kind = text_of(inode.i_sb.s_type.name)
        return f"inode {inode.i_ino.value_()} of {kind}"
    except drgn.FaultError:
        return ""

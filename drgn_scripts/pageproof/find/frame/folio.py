# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of a file: whether their ``struct page`` says so too."""

from __future__ import annotations

import drgn

from pageproof.find.bounded import xa_load


def is_cached(head: drgn.Object, pages: drgn.Object, index: int, entry: drgn.Object) -> bool:
    """Whether a folio is one of the file's that has it in its page cache.

    Both sides must say so: what a damaged table of vmemmap leads to is another page's data.

    Args:
        head: ``struct page *`` of the entry's folio.
        pages: ``struct xarray *``, the file's ``i_pages``.
        index: of the entry in it.
        entry: as it was read.

    Returns:
        False if the page has left the file meanwhile.

    Raises:
        ValueError: the file has it, and it says that it is another's.
    """
    mapping = pages.value_() - drgn.offsetof(pages.prog_.type("struct address_space"), "i_pages")
    if head.mapping.value_() == mapping:
        return True
    if xa_load(pages, index).value_() != entry.value_():
        return False
    raise ValueError(
        f"struct page {head.value_():#x} is damaged: it stands in the file's page cache, "
        "and says that it is not the file's"
    )

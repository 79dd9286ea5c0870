# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of a file, checked against their ``struct page``."""

from __future__ import annotations

from collections.abc import Collection

import drgn

from pageproof.find.bounded import xa_load


def is_cached(head: drgn.Object, pages: drgn.Object, index: int, entries: Collection[int]) -> bool:
    """Return whether a folio belongs to the file whose page cache contains it.

    Both sides are compared: a damaged vmemmap table may lead to the data of another page.

    Args:
        head: ``struct page *`` of the entry's folio.
        pages: ``struct xarray *``, the file's ``i_pages``.
        index: an index of the folio in ``pages``.
        entries: what the entry there may be: the one that was read.

    Returns:
        False if the page was removed from the file during the look-up.

    Raises:
        ValueError: the file contains the folio, but the folio names another file.
    """
    mapping = pages.value_() - drgn.offsetof(pages.prog_.type("struct address_space"), "i_pages")
    if head.mapping.value_() == mapping:
        return True
    if xa_load(pages, index).value_() not in entries:
        return False
    raise ValueError(
        f"struct page {head.value_():#x} is damaged: the file's page cache contains it, "
        "but its mapping is not the file's"
    )

# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of page flags, one for each bit."""

from __future__ import annotations

from typing import Final

import drgn

_CACHE: Final = "pageproof page flags"
#: ``PAGE_MAPPING_ANON`` of include/linux/page-flags.h, in ``page->mapping``.
MAPPING_ANON: Final = 1
#: Second meanings of a bit, by the kind of page that they apply to.
_OF_FREE: Final = frozenset({"reported"})
_OF_ANONYMOUS: Final = frozenset({"anon_exclusive"})
_OF_FILE: Final = frozenset({"mappedtodisk"})
#: ``folio_test_swapcache()`` tests both bits, for any kind of page.
_SWAPCACHE, _SWAPBACKED = "swapcache", "swapbacked"


def flag_names(prog: drgn.Program, flags: int, mapping: int, *, buddy: bool) -> list[str]:
    """Return the names of a page's flags, in the order of their bits.

    Several enumerators of ``enum pageflags`` share a bit. The first is used, as in the kernel's
    ``%pGp``, unless another applies to this kind of page.

    Args:
        prog: the target.
        flags: ``page->flags`` of a head page, or of a page that is not compound.
        mapping: its ``mapping``; 0 if the page uses the word for something else.
        buddy: the page is free.
    """
    table = _table(prog)
    kind = _OF_FREE if buddy else frozenset()
    if mapping:
        kind = _OF_ANONYMOUS if mapping & MAPPING_ANON else _OF_FILE
    swapbacked = any(flags >> bit & 1 and _SWAPBACKED in names for bit, names in table.items())
    if mapping and swapbacked:
        kind |= {_SWAPCACHE}
    found = []
    for bit, names in table.items():
        if flags >> bit & 1:
            found.append(next((name for name in names if name in kind), names[0]))
    return found


def _table(prog: drgn.Program) -> dict[int, tuple[str, ...]]:
    """Return names by bit. The plain name is first: it precedes ``__NR_PAGEFLAGS`` in the enum."""
    known: dict[int, tuple[str, ...]] | None = prog.cache.get(_CACHE)
    if known is None:
        names: dict[int, tuple[str, ...]] = {}
        for one in prog.type("enum pageflags").enumerators or ():
            if one.name.startswith("PG_"):
                names[one.value] = (*names.get(one.value, ()), one.name.removeprefix("PG_"))
        known = prog.cache[_CACHE] = dict(sorted(names.items()))
    return known

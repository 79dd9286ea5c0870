# SPDX-License-Identifier: GPL-2.0-or-later
"""What makedumpfile's filter may lose: the rule that ``check``, ``verify`` and the capture share.

makedumpfile decides by struct page which pages to leave out. How struct page says that a page
belongs to the slab allocator, or to the tail of a compound page, is in VMCOREINFO, under keys that
a makedumpfile either reads or does not. With bit 8 of the dump level it takes the pages that it
does not recognise for data of processes, leaves them out, and returns 0.

The capture environment has the same list (capture/init, ``drops_slab``);
tests/unit/kdump/test_filter.py compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Bits of the dump level (makedumpfile(8)).
ZERO, CACHE, CACHE_PRIVATE, USER, FREE = 1, 2, 4, 8, 16
LEVELS: Final = range(32)
WORDS: Final = {
    ZERO: "zero pages",
    CACHE: "page cache",
    CACHE_PRIVATE: "page cache with private data",
    USER: "data of processes",
    FREE: "free pages",
}


@dataclass(frozen=True)
class Key:
    """A key of VMCOREINFO without which makedumpfile loses slab pages.

    Attributes:
        text: as it is in VMCOREINFO, and in makedumpfile's program with a "=" behind it.
        since: Linux releases that have it, from this one on; (major, minor).
        reads: the makedumpfile that reads it, in words.
    """

    text: str
    since: tuple[int, int]
    reads: str


#: Linux d50569612c29 ("mm: rename the 'compound_head' field in the 'struct page' to
#: 'compound_info'"), makedumpfile f50c015, which no release has yet; Linux 46df8e73a4a3 ("mm: free
#: up PG_slab"), makedumpfile bad2a7c.
KEYS: Final = (
    Key("OFFSET(page.compound_info)", (7, 1), "a makedumpfile newer than 1.7.9"),
    Key("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", (6, 10), "makedumpfile 1.7.6 or newer"),
)


def unread_keys(vmcoreinfo: str, program: bytes) -> tuple[Key, ...]:
    """Return the keys that a kernel has and a makedumpfile does not read.

    Args:
        vmcoreinfo: the kernel's.
        program: the bytes of makedumpfile's program: it has each key that it reads as a string.
    """
    return tuple(
        key
        for key in KEYS
        if f"\n{key.text}=" in f"\n{vmcoreinfo}" and key.text.encode() not in program
    )


#: Linux 4ffca5a96678 ("mm: support only one page_type per page"). makedumpfile before 72c3414 takes
#: free pages for slab pages then. Such a dump is sound, but larger.
_FREE_SINCE: Final = (6, 12)
_FREE_READ_SINCE: Final = (1, 7, 7)


def keeps_free_pages(release: str, version: str) -> bool:
    """Return whether a makedumpfile may keep free pages of a kernel, at any level.

    Args:
        release: of the kernel.
        version: of makedumpfile.
    """
    kernel = release_numbers(release)
    digits = [part for part in version.partition("+")[0].split(".") if part.isdecimal()]
    is_old = not digits or tuple(map(int, digits)) < _FREE_READ_SINCE
    return is_old and (kernel is None or kernel >= _FREE_SINCE)


def sound_level(level: int) -> int:
    """Return a level at which the keys do not matter."""
    return level & ~USER


def level_words(level: int) -> str:
    """Return what a level leaves out."""
    return ", ".join(word for bit, word in WORDS.items() if level & bit) or "nothing"


def release_numbers(release: str) -> tuple[int, int] | None:
    """Return the first two numbers of a release; None if it does not begin with them."""
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        return None
    return int(major), int(minor)

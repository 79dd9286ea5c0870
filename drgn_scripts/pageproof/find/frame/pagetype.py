# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of ``page_type`` before enum pagetype (4ffca5a96678, 6.12)."""

from __future__ import annotations

from typing import Final

import drgn

#: ``PAGE_TYPE_BASE`` and ``PG_*`` of ``include/linux/page-flags.h``:
#: a page has a type if the type's bit is *clear* and all bits of the base are set.
OLD_TYPE_BASE: Final = 0xF000_0000
OLD_BUDDY: Final = 0x80
OLD_OFFLINE: Final = 0x100
#: ``PG_table``. Until 5.11 (18b2db3b0385) PG_kmemcg was the bit below it.
_TABLE: Final = 0x200
_TABLE_ABOVE_KMEMCG: Final = 0x400


def old_table(prog: drgn.Program) -> int:
    """Return the bit of ``PG_table`` before enum pagetype.

    The series that removed PG_kmemcg replaced ``page.mem_cgroup`` with ``page.memcg_data``
    (bcfe06bf2622). Neither member exists without CONFIG_MEMCG. ``thread_info.syscall_work``
    (b86678cf0f1d, "x86: Expose syscall_work field in thread_info") came in the same release and
    depends on no option.
    """
    page = prog.type("struct page")
    if page.has_member("memcg_data"):
        return _TABLE
    if page.has_member("mem_cgroup"):
        return _TABLE_ABOVE_KMEMCG
    has_syscall_work = prog.type("struct thread_info").has_member("syscall_work")
    return _TABLE if has_syscall_work else _TABLE_ABOVE_KMEMCG

# SPDX-License-Identifier: GPL-2.0-or-later
"""The bit of page tables in page_type, derived from the members of other structures."""

from __future__ import annotations

import pytest
from unit.program import Made

from pageproof.find.frame.pagetype import old_table


# Members in the debug info of Debian's kernels 5.10.0-43 and 6.1.0-56, and the same without the
# member under #ifdef CONFIG_MEMCG in mm_types.h.
@pytest.mark.parametrize(
    ("page", "thread_info", "bit"),
    [
        (("flags", "mem_cgroup"), ("flags", "status"), 0x400),
        (("flags", "memcg_data"), ("flags", "syscall_work", "status", "cpu"), 0x200),
        (("flags",), ("flags", "status"), 0x400),
        (("flags",), ("flags", "syscall_work", "status", "cpu"), 0x200),
    ],
    ids=("5.10", "6.1", "5.10 without MEMCG", "6.1 without MEMCG"),
)
def test_page_tables(page: tuple[str, ...], thread_info: tuple[str, ...], bit: int) -> None:
    prog = Made(structs={"page": page, "thread_info": thread_info}).program()
    assert old_table(prog) == bit

# SPDX-License-Identifier: GPL-2.0-or-later
"""perf's ring buffers: a control page, the data, and the aux data that the PMU writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast

from pageproof.find.shared.finder import (
    Claim,
    Finder,
    UnknownPart,
    adjoining,
    begins_with,
    behind_the_end,
    owner_of,
)

_DATA: Final = "data"
_AUX: Final = "aux"


def _claim(vma: drgn.Object) -> Claim | None:
    """Return the region of an offset, as in ``perf_mmap_to_page()`` of kernel/events/ring_buffer.c.

    The buffer is the owner, because several events may write into one
    (PERF_EVENT_IOC_SET_OUTPUT).
    """
    rb = cast("struct perf_event *", vma.vm_file.private_data).rb
    if not rb:
        # perf_mmap_close() of the last other mapping detached it.
        raise UnknownPart("a ring buffer that its event no longer has")
    page, aux_pages = int(vma.vm_pgoff), int(rb.aux_nr_pages)
    if aux_pages and page >= int(rb.aux_pgoff):
        part, pages, page = _AUX, aux_pages, page - int(rb.aux_pgoff)
    else:
        part, pages = _DATA, 1 + (int(rb.nr_pages) << (_vmalloc_order(rb) or 0))
    if page >= pages:
        raise behind_the_end(f"its {part} buffer")
    return Claim(
        owner=rb.value_(),
        owner_type="struct perf_buffer",
        part=part,
        name="perf ring buffer" if part == _DATA else "perf aux buffer",
        pages=pages,
        first_page=page,
    )


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    rb = owner_of(prog, claim)
    if claim.part == _AUX:
        return [rb.aux_pages[number].value_() for number in range(claim.pages)]
    control = rb.user_page.value_()
    if _vmalloc_order(rb) is not None:
        return adjoining(control, claim.pages)
    return [control, *(rb.data_pages[number].value_() for number in range(claim.pages - 1))]


def _vmalloc_order(rb: drgn.Object) -> int | None:
    """Return log2 of the pages in one unit of ``nr_pages`` if the buffer is one vmalloc area.

    None without CONFIG_PERF_USE_VMALLOC, which x86 has for debugging only.
    """
    try:
        return int(rb.page_order)
    except AttributeError:
        return None


PERF: Final = Finder(
    kind="perf",
    help="ring buffers of perf events",
    operations=("perf_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    content=begins_with("struct perf_event_mmap_page", _DATA),
)

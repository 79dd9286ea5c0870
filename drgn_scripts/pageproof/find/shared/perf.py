# SPDX-License-Identifier: GPL-2.0-or-later
"""perf's ring buffers: a page of control, the data, and what a PMU writes by itself (aux)."""

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
    behind_the_end,
    owner_of,
)

_DATA: Final = "data"
_AUX: Final = "aux"


def _claim(vma: drgn.Object) -> Claim | None:
    """As ``perf_mmap_to_page()`` of kernel/events/ring_buffer.c finds the page of an offset.

    Events may write into one buffer (PERF_EVENT_IOC_SET_OUTPUT): it is the owner.
    """
    rb = cast("struct perf_event *", vma.vm_file.private_data).rb
    if not rb:
        # The last other mapping took it along (perf_mmap_close()).
        raise UnknownPart("a ring buffer that its event does not have any more")
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
    """log2 of the pages that one of ``nr_pages`` is where all of it is one vmalloc area.

    That is with CONFIG_PERF_USE_VMALLOC, on x86 for debugging only; else a page is a page.
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
)

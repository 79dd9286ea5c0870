# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's vcpus: kvm_run, PIO data, coalesced MMIO, and the ring of dirty pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast

from pageproof import arch
from pageproof.find.shared.finder import (
    Claim,
    Finder,
    Runs,
    adjoining,
    begins_with,
    behind_the_end,
    owner_of,
)
from pageproof.space.units import PAGE_BYTES


def _claim(vma: drgn.Object) -> Claim | None:
    """Return the region, in which a page has the index of its offset in the file.

    Pages 3 to 63 do not exist. kvm_vcpu_mmap() does not limit the length of a VMA, so one VMA may
    also contain the ring.
    """
    vcpu = cast("struct kvm_vcpu *", vma.vm_file.private_data)
    ring_pages = _ring_pages(vcpu)
    offsets = arch.of_program(vma.prog_).kvm_pages
    pages = offsets["dirty_log"] + ring_pages if ring_pages else offsets["coalesced_mmio"] + 1
    page = int(vma.vm_pgoff)
    if page >= pages:
        raise behind_the_end("the vcpu's memory")
    return Claim(
        owner=vcpu.value_(),
        owner_type="struct kvm_vcpu",
        part="",
        name=f"KVM vcpu {int(vcpu.vcpu_id)}",
        pages=pages,
        first_page=page,
    )


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return the addresses of the pages, as in ``kvm_vcpu_fault()`` of virt/kvm/kvm_main.c.

    All vcpus of a VM share the page of coalesced MMIO.
    """
    vcpu = owner_of(prog, claim)
    offsets = arch.of_program(prog).kvm_pages
    there = {
        offsets["run"]: vcpu.run.value_(),
        offsets["pio"]: vcpu.arch.pio_data.value_(),
        offsets["coalesced_mmio"]: vcpu.kvm.coalesced_mmio_ring.value_(),
    }
    ring_pages = _ring_pages(vcpu)
    if ring_pages:
        ring = adjoining(vcpu.dirty_ring.dirty_gfns.value_(), ring_pages)
        there |= dict(enumerate(ring, offsets["dirty_log"]))
    return Runs.by_page(claim.pages, there)


def _ring_pages(vcpu: drgn.Object) -> int:
    """Return the size of the ring of dirty pages; 0 if the VM has none."""
    try:
        # Since 5.11: fb04a1eddb1a ("KVM: X86: Implement ring-based dirty memory tracking")
        return int(vcpu.kvm.dirty_ring_size) // PAGE_BYTES
    except AttributeError:
        return 0


KVM: Final = Finder(
    kind="kvm",
    help="KVM's vcpus: kvm_run, PIO data, coalesced MMIO and rings of dirty pages",
    operations=("kvm_vcpu_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    content=begins_with("struct kvm_run"),
    module="kvm",
)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The vDSO and its data, which are in the kernel's image and in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import page_to_virt

from pageproof.find.kernel.debuginfo import of_program
from pageproof.find.process.tasks import read_tasks
from pageproof.find.shared.finder import Claim, Finder, UnknownPart, adjoining, owner_of
from pageproof.find.strings import bytes_of
from pageproof.model import kinds
from pageproof.space.units import PAGE_BYTES

_DATA: Final = "vvar"
_CODE: Final = "vdso"


@dataclass(frozen=True)
class _Places:
    """Page numbers in vvar, as in ``vvar_fault()``.

    Attributes:
        pages: number of pages. A page that is not listed here is Hyper-V's clock.
        time: the time data, or in a time namespace the namespace's offsets.
        namespace: the time data of processes in a time namespace.
        random: the state of random numbers; None if it has no page.
        kvm_clock: KVM's clock; None if vvar does not have it.
    """

    pages: int
    time: int
    namespace: int
    random: int | None
    kvm_clock: int | None = None


@of_program
def _places(prog: drgn.Program) -> _Places:
    try:
        # Since 6.15: dafde29605eb ("x86/vdso: Switch to generic storage implementation")
        pages = _constant(prog, "VDSO_NR_PAGES")
    except LookupError:
        return _older_places(prog["vdso_image_64"])
    return _Places(
        pages=pages,
        time=_constant(prog, "VDSO_TIME_PAGE_OFFSET"),
        namespace=_constant(prog, "VDSO_TIMENS_PAGE_OFFSET"),
        random=_constant(prog, "VDSO_RNG_PAGE_OFFSET"),
    )


def _older_places(image: drgn.Object) -> _Places:
    """Return the places from the symbols of the image, which are offsets from its code."""
    start = int(image.sym_vvar_start)
    return _Places(
        pages=-start // PAGE_BYTES,
        time=(int(image.sym_vvar_page) - start) // PAGE_BYTES,
        namespace=(int(image.sym_timens_page) - start) // PAGE_BYTES,
        random=None,  # it is in the page of the time data
        kvm_clock=(int(image.sym_pvclock_page) - start) // PAGE_BYTES,
    )


@of_program
def _time_address(prog: drgn.Program) -> int:
    try:
        # Since 6.15: df7fcbefa710 ("vdso: Add generic time data storage")
        return int(prog["vdso_k_time_data"].value_())
    except LookupError:
        return int(prog.symbol("__vvar_page").address)


@of_program
def _random_address(prog: drgn.Program) -> int | None:
    try:
        return int(prog["vdso_k_rng_data"].value_())
    except LookupError:
        return None  # without CONFIG_VDSO_GETRANDOM


def _kvm_clock_address(prog: drgn.Program) -> int | None:
    try:
        return int(prog["pvti_cpu0_va"].value_()) or None
    except LookupError:
        return None  # without CONFIG_PARAVIRT_CLOCK


def _constant(prog: drgn.Program, name: str) -> int:
    return int(prog.constant(name))


def _claim(vma: drgn.Object) -> Claim | None:
    part = _parts(vma.prog_).get(vma.vm_private_data.value_())
    if part == _CODE:
        return _code(vma)
    if part == _DATA:
        return _data(vma)
    name = bytes_of(cast("struct vm_special_mapping *", vma.vm_private_data).name)
    if name == b"[vvar_vclock]":
        return None  # clocks of the hypervisor (since 6.15), not memory of the kernel
    raise UnknownPart(name.decode("utf-8", "replace"))


@of_program
def _parts(prog: drgn.Program) -> dict[int, str]:
    """Return the part that belongs to each ``struct vm_special_mapping``, by address."""
    # vdso_vvar_mapping: since 6.15 (df7fcbefa710), for all architectures.
    names = {"vdso_mapping": _CODE, "vdso_vvar_mapping": _DATA, "vvar_mapping": _DATA}
    return {
        address: part
        for name, part in names.items()
        if (address := _address(prog, name)) is not None
    }


def _address(prog: drgn.Program, name: str) -> int | None:
    try:
        address: int | None = prog[name].address_
    except LookupError:
        return None
    return address


def _code(vma: drgn.Object) -> Claim:
    image = vma.vm_mm.context.vdso_image
    return Claim(
        owner=image.value_(),
        owner_type="struct vdso_image",
        part=_CODE,
        name="[vdso]",
        pages=int(image.size) // PAGE_BYTES,
        first_page=int(vma.vm_pgoff),
    )


def _data(vma: drgn.Object) -> Claim | None:
    """Return the region of the process's time namespace, which decides the order of the pages.

    The kernel uses the namespace of the task that faults. Tasks that share an address space have
    the same (``copy_namespaces()`` and ``timens_install()``).
    """
    prog = vma.prog_
    places = _places(prog)
    image = vma.vm_mm.context.vdso_image
    try:
        same = _older_places(image) == places
    except AttributeError:
        same = True  # since 6.15, see _places(): all images have the same layout
    if not same:
        raise UnknownPart("[vvar] of a 32-bit process")
    namespace = _task_of(vma.vm_mm).nsproxy.time_ns.read_()
    # NULL without CONFIG_TIME_NS: all processes have the same data.
    owner, kind, which = (
        (namespace, "struct time_namespace", f", time namespace {int(namespace.ns.inum)}")
        if namespace
        else (image, "struct vdso_image", "")
    )
    return Claim(
        owner=owner.value_(),
        owner_type=kind,
        part=_DATA,
        name=f"[vvar]{which}",
        pages=places.pages,
        first_page=int(vma.vm_pgoff),
    )


def _task_of(mm: drgn.Object) -> drgn.Object:
    """Return a task of an address space: its owner (with CONFIG_MEMCG), or any."""
    try:
        return mm.owner
    except AttributeError:
        return searched_task(mm)


def searched_task(mm: drgn.Object) -> drgn.Object:
    """Search all tasks for one with a given address space.

    The result of a search is cached, and the search is repeated if the cache is out of date.

    Raises:
        ValueError: no task has it.
    """
    prog = mm.prog_
    known: dict[int, int] = prog.cache.setdefault("pageproof tasks by mm", {})
    for _ in range(2):
        task = drgn.Object(prog, "struct task_struct *", known.get(mm.value_(), 0))
        if task and task.mm == mm:
            return task
        known.clear()
        tasks, lost = read_tasks(prog)
        known.update((one.mm, one.address) for one in tasks)
    raise ValueError(f"no task has this address space{lost and f': {lost}'}")


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    owner = owner_of(prog, claim)
    if claim.part == _CODE:
        return adjoining(owner.data.value_(), claim.pages)
    places = _places(prog)
    pages: list[int | None] = [None] * claim.pages
    pages[places.time] = _time_address(prog)
    try:
        own = owner.vvar_page
    except AttributeError:
        own = None  # the owner is the image, see _data()
    if own:  # find_timens_vvar_page()
        pages[places.namespace] = pages[places.time]
        pages[places.time] = page_to_virt(own).value_()
    if places.kvm_clock is not None:
        pages[places.kvm_clock] = _kvm_clock_address(prog)
    if places.random is not None:
        pages[places.random] = _random_address(prog)
    return pages


VDSO: Final = Finder(
    kind=kinds.VDSO,
    help="the vDSO and its data",
    operations=("special_mapping_vmops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_private_data", "vm_mm.context.vdso_image", "vm_mm.owner.nsproxy.time_ns"),
)

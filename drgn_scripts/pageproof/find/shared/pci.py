# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of PCI devices, mapped through resourceN of sysfs or /proc/bus/pci."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import drgn
from drgn import cast, container_of

from pageproof.find.bounded import list_entries
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.paths import path_of
from pageproof.find.shared.finder import Claim, Finder, not_private, owner_of
from pageproof.find.shared.physical import kernel_sides
from pageproof.find.strings import text_of
from pageproof.space.units import PAGE_BYTES

_PCI: Final = "pci_phys_vm_ops"
#: sysfs's own operations wrap those of the file.
_SYSFS: Final = "kernfs_vm_ops"
#: ``PCI_STD_NUM_BARS``: both kinds of files have only these.
_BARS: Final = 6
_IORESOURCE_MEM: Final = 0x200


def _claim(vma: drgn.Object) -> Claim | None:
    """Return the BAR that contains vm_pgoff, which ``pci_mmap_resource_range()`` made a PFN."""
    if not _is_resource(vma):
        return None
    not_private(vma)
    pfn, file = int(vma.vm_pgoff), vma.vm_file
    for device, bar, frames in _resources(vma.prog_):
        name = text_of(device.dev.kobj.name)
        if pfn in frames and _is_file_of(file, name, bar):
            return Claim(
                owner=device.value_(),
                owner_type="struct pci_dev",
                part=f"resource{bar}",
                name=f"{name} resource {bar}",
                pages=len(frames),
                first_page=pfn - frames.start,
            )
    raise ValueError(f"the file's device has no memory at page frame {pfn:#x}")


def _is_resource(vma: drgn.Object) -> bool:
    """Return whether the operations, or those that sysfs wraps, are PCI's."""
    prog, operations = vma.prog_, vma.vm_ops
    if symbol_name(prog, operations.value_()) == _SYSFS:
        seq_file = cast("struct seq_file *", vma.vm_file.private_data)
        operations = cast("struct kernfs_open_file *", seq_file.private).vm_ops
    return bool(operations) and symbol_name(prog, operations.value_()) == _PCI


def _resources(prog: drgn.Program) -> Iterator[tuple[drgn.Object, int, range]]:
    """Yield (``struct pci_dev *``, number, page frames) of each BAR that is memory."""
    for device in _devices(prog):
        for bar in range(_BARS):
            resource = device.resource[bar]
            start, end = int(resource.start), int(resource.end)
            if int(resource.flags) & _IORESOURCE_MEM and start:
                yield device, bar, range(start // PAGE_BYTES, end // PAGE_BYTES + 1)


def _devices(prog: drgn.Program) -> Iterator[drgn.Object]:
    """Yield ``struct pci_dev *`` of the devices on the bus.

    Raises:
        DamagedError: a list does not end.
    """
    bus = prog["pci_bus_type"].address_of_()
    buses = list_entries(
        "struct subsys_private", prog["bus_kset"].list.address_of_(), "subsys.kobj.entry"
    )
    for one in buses:
        if one.bus == bus:
            of_bus = one.klist_devices.k_list.address_of_()
            for private in list_entries("struct device_private", of_bus, "knode_bus.n_node"):
                yield container_of(private.device.read_(), prog.type("struct pci_dev"), "dev")
            return


def _is_file_of(file: drgn.Object, device: str, bar: int) -> bool:
    """Return whether the file is the BAR's. The name is needed: two BARs may share a page."""
    dentry = path_of(file).dentry
    name, directory = (text_of(one.d_name.name) for one in (dentry, dentry.d_parent))
    if name.startswith("resource"):
        return (directory, name.removesuffix("_wc")) == (device, f"resource{bar}")
    return device.endswith(f"{directory}:{name}")


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    resource = owner_of(prog, claim).resource[int(claim.part.removeprefix("resource"))]
    return kernel_sides(prog, int(resource.start) // PAGE_BYTES, claim.pages)


PCI: Final = Finder(
    kind="pci",
    help="memory of PCI devices, mapped through sysfs or /proc/bus/pci",
    operations=(_SYSFS, _PCI),
    claim=_claim,
    kernel_pages=_kernel_pages,
)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Which VMAs map a device that the user named."""

from __future__ import annotations

from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.process.devices import (
    device_of,
    is_at_path,
    number_of_node,
    number_words,
    parse_number,
)
from pageproof.find.process.mappings import Backing, Wanted, search
from pageproof.model import PagingFacts


def maps_device(target: Target, paging: PagingFacts, path: str) -> Wanted:
    """Return a filter for VMAs that map a device.

    It compares device numbers: a process in a chroot or a container has a node of its own.

    Args:
        target: an attached target.
        paging: the target's.
        path: of the device, or MAJOR:MINOR.

    Raises:
        PageproofError: processes map several devices by this path, and no node gives the number.
    """
    prog = target.prog
    number = parse_number(path)
    if number is None:
        number = number_of_node(prog, path)
    if number is None:
        # The kernel has no such name in its cache, or the node was removed.
        mapped: set[int] = set()

        def note(one: Backing) -> bool:
            device = device_of(prog, one.file)
            if device is not None and device not in mapped and is_at_path(prog, one.file, path):
                mapped.add(device)
            return False

        search(prog, paging, Wanted(backing=note))
        if len(mapped) > 1:
            raise PageproofError(
                f"processes map several devices as {path}: "
                + ", ".join(map(number_words, sorted(mapped))),
                "",
                "say which: --device MAJOR:MINOR",
            )
        number = next(iter(mapped), None)
    return Wanted(lambda one: number is not None and device_of(prog, one.file) == number)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The watchpoints that are armed in a gdb stub. The guest must be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pageproof.model.watch import Place
from pageproof.watch.remote import Remote

#: Z packets of the protocol.
_WRITE, _READ, _EITHER = "2", "3", "4"
#: What is tried. Of two watchpoints that match, QEMU reports the last one inserted, and KVM's code
#: the one in the last register: a write. x86 has no debug register for reads only, so under KVM the
#: second pair is used, and a hit that is not a write is a read.
_PAIRS: Final = ((_READ, _WRITE), (_EITHER, _WRITE), (_EITHER,))
_WRITES: Final = ((_WRITE,),)


@dataclass
class Watchpoint:
    """An armed address.

    Attributes:
        packets: what is armed: "2" for Z2.
        places: by number. Processes may have the same address.
    """

    address: int
    length: int
    packets: tuple[str, ...]
    places: dict[int, Place] = field(default_factory=dict)

    @property
    def tells_writes(self) -> bool:
        """Whether a write is reported as one."""
        return _WRITE in self.packets


class Watchpoints:
    """Arms and disarms.

    Args:
        kvm: the guest runs under KVM.
        writes_only: reads do not stop the guest.
    """

    def __init__(self, *, kvm: bool, writes_only: bool = False) -> None:
        self._kvm, self._pairs = kvm, _WRITES if writes_only else _PAIRS
        self._armed: dict[int, Watchpoint] = {}

    def __iter__(self) -> Iterator[Watchpoint]:
        return iter(self._armed.values())

    def at(self, address: int) -> Watchpoint | None:
        """Return what is armed at an address."""
        return self._armed.get(address)

    def of(self, number: int) -> Watchpoint | None:
        """Return the watchpoint of a place."""
        return next((one for one in self if number in one.places), None)

    def place(self, number: int) -> Place | None:
        """Return an armed place."""
        there = self.of(number)
        return None if there is None else there.places[number]

    def insert(self, stub: Remote, place: Place) -> str:
        """Arm an address, and return why it is refused, or "".

        Raises:
            PageproofError: the connection failed.
        """
        answer = ""
        for packets in self._pairs:
            for number, kind in enumerate(packets):
                answer = _send(stub, "Z", kind, place.address, place.length_bytes)
                if answer != "OK":
                    for done in packets[:number]:
                        _send(stub, "z", done, place.address, place.length_bytes)
                    break
            else:
                armed = Watchpoint(place.address, place.length_bytes, packets)
                armed.places[place.number] = place
                self._armed[place.address] = armed
                return ""
        if self._kvm:
            return (
                "QEMU refused it: under KVM the CPU has four debug registers, each for 1, 2, 4 or "
                "8 aligned bytes; watch a narrower field, or fewer"
            )
        return f"QEMU refused it ({answer[:20] or 'not supported'}); watch a narrower field"

    def remove(self, stub: Remote, watchpoint: Watchpoint) -> None:
        """Disarm an address.

        Raises:
            PageproofError: the connection failed.
        """
        for kind in watchpoint.packets:
            _send(stub, "z", kind, watchpoint.address, watchpoint.length)
        del self._armed[watchpoint.address]


def _send(stub: Remote, letter: str, kind: str, address: int, length: int) -> str:
    return stub.ask(f"{letter}{kind},{address:x},{length:x}")[0]

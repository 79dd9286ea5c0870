# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages about what the bulk reader in C could not read."""

from __future__ import annotations

from typing import NamedTuple

import pageproof_pagewalk as engine


class Loss(NamedTuple):
    """A loss of ``pageproof_pagewalk``; its stub explains the kinds."""

    owner: int
    kind: int
    address: int
    value: int
    reason: int


def unreadable(address: int, reason: int) -> str:
    """Return the message for memory that cannot be read."""
    return f"memory at {address:#x} cannot be read: {engine.KINDS[reason]}"


def lost_vmas(loss: Loss) -> str:
    """Return the message for VMAs that are missing."""
    _, kind, address, value, reason = loss
    if kind in (engine.LOSS_MM, engine.LOSS_ROOT, engine.LOSS_LINK):
        return unreadable(value, reason)
    if kind == engine.LOSS_NODE:
        return f"node {address:#x} of the tree of VMAs: {unreadable(value, reason)}"
    if kind == engine.LOSS_NODE_TWICE:
        return f"node {address:#x} of the tree of VMAs is in it twice"
    if kind == engine.LOSS_NODES:
        return f"the tree of VMAs does not end after {value} nodes"
    if kind == engine.LOSS_NODE_TYPE:
        return f"node {address:#x} of the tree of VMAs: the unknown type {value}"
    if kind == engine.LOSS_VMA_TWICE:
        return f"VMA {address:#x} is in the tree twice"
    if kind == engine.LOSS_CIRCLE:
        return f"the list of VMAs goes in circles at {address:#x}"
    if kind == engine.LOSS_VMAS:
        return f"there are more than {value} VMAs"
    if kind == engine.LOSS_CHANGING:
        return "the VMAs keep changing"
    if kind == engine.LOSS_MAP_COUNT:
        return f"only {address} of {value} VMAs (mm->map_count) were found"
    return _other(loss)


def lost_entries(loss: Loss) -> str:
    """Return the message for entries of an XArray that are missing."""
    first, kind, address, value, reason = loss
    lost = f"the entries from {first} on are missing: "
    if kind in (engine.LOSS_ROOT, engine.LOSS_NODE):
        return lost + unreadable(value, reason)
    if kind == engine.LOSS_NODE_TWICE:
        return f"{lost}node {address:#x} is in the tree twice"
    if kind == engine.LOSS_NODES:
        return f"{lost}there are more than {value} nodes"
    if kind == engine.LOSS_NODE_SHIFT:
        return f"{lost}node {address:#x} has the shift {value}"
    if kind == engine.LOSS_ENTRY:
        return f"entry {first} is not an entry: {value:#x}"
    if kind == engine.LOSS_INDEX:
        return f"{lost}their indices are too large"
    if kind == engine.LOSS_VMAS:
        return f"{lost}there are more than {value}"
    return _other(loss)


def _other(loss: Loss) -> str:
    return f"loss of the unknown kind {loss.kind} at {loss.address:#x}"

# SPDX-License-Identifier: GPL-2.0-or-later
"""What the bulk reader in C could not read is worded as the one in Python words it."""

import pageproof_pagewalk as engine
import pytest

from pageproof.find.bulk.losses import Loss, lost_entries, lost_vmas

EXCLUDED = engine.KINDS.index("excluded")
MISSING = "the entries from 64 on are missing: "
NO_MEMORY = "memory at 0x1008 cannot be read: excluded"


@pytest.mark.parametrize(
    ("kind", "address", "value", "message"),
    [
        ("MM", 0x1000, 0x1008, NO_MEMORY),
        ("ROOT", 0x1008, 0x1008, NO_MEMORY),
        ("LINK", 0x1000, 0x1008, NO_MEMORY),
        ("NODE", 0x1000, 0x1008, f"node 0x1000 of the tree of VMAs: {NO_MEMORY}"),
        ("NODE_TWICE", 0x1000, 0, "node 0x1000 of the tree of VMAs is in it twice"),
        ("NODES", 0x1000, 8, "the tree of VMAs does not end after 8 nodes"),
        ("NODE_TYPE", 0x1000, 4, "node 0x1000 of the tree of VMAs: the unknown type 4"),
        ("VMA_TWICE", 0x8000, 0, "VMA 0x8000 is in the tree twice"),
        ("CIRCLE", 0x8000, 0, "the list of VMAs goes in circles at 0x8000"),
        ("VMAS", 0, 9, "there are more than 9 VMAs"),
        ("CHANGING", 0, 8, "the VMAs keep changing"),
        ("MAP_COUNT", 1, 3, "only 1 of 3 VMAs (mm->map_count) were found"),
        ("NODE_SHIFT", 0x1000, 3, "loss of the unknown kind 7 at 0x1000"),
    ],
)
def test_vmas(kind: str, address: int, value: int, message: str) -> None:
    number = getattr(engine, f"LOSS_{kind}")
    message = message.replace("kind 7", f"kind {number}")
    assert lost_vmas(Loss(0, number, address, value, EXCLUDED)) == message


@pytest.mark.parametrize(
    ("kind", "address", "value", "message"),
    [
        ("ROOT", 0x1008, 0x1008, MISSING + NO_MEMORY),
        ("NODE", 0x1000, 0x1008, MISSING + NO_MEMORY),
        (
            "NODE_TWICE",
            0x1000,
            0,
            "the entries from 64 on are missing: node 0x1000 is in the tree twice",
        ),
        ("NODES", 0x1000, 5, f"{MISSING}there are more than 5 nodes"),
        (
            "NODE_SHIFT",
            0x1000,
            7,
            f"{MISSING}node 0x1000 has the shift 7",
        ),
        ("ENTRY", 0, 0x1002, "entry 64 is not an entry: 0x1002"),
        ("INDEX", 0, 0, f"{MISSING}their indices are too large"),
        ("VMAS", 0, 9, f"{MISSING}there are more than 9"),
        ("CIRCLE", 0x1000, 0, "loss of the unknown kind 11 at 0x1000"),
    ],
)
def test_entries_of_an_xarray(kind: str, address: int, value: int, message: str) -> None:
    number = getattr(engine, f"LOSS_{kind}")
    message = message.replace("kind 11", f"kind {number}")
    assert lost_entries(Loss(64, number, address, value, EXCLUDED)) == message

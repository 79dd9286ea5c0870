# SPDX-License-Identifier: GPL-2.0-or-later
"""The only vocabulary that the rooms share: frozen dataclasses of int, str and enum.

A name's module is loaded when the name is first used: a dataclass takes up to a millisecond to
make, and no command needs all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pageproof.model.commands import (
        MAPS_SCHEMA,
        WALK_SCHEMA,
        Amount,
        MappedRun,
        MapsReport,
        TableSet,
        VmaLine,
        VmaResidency,
        WalkReport,
    )
    from pageproof.model.facts import (
        ADDED,
        UNSAVED,
        Answer,
        AreaOwner,
        FileFacts,
        MappingFacts,
        OwnerKind,
        PagingFacts,
        RegionFacts,
        Route,
        RouteContent,
        SecondOpinion,
        SlabFacts,
        SlabState,
        SlotFacts,
        StructPageFacts,
        SwapLayout,
        TargetFacts,
        TargetKind,
        TaskFault,
        VmaFacts,
    )
    from pageproof.model.hexint import HEX, Address, Bits, Paddr, Pfn
    from pageproof.model.report import (
        SCHEMA,
        Finding,
        PageEvidence,
        PageProof,
        PageRun,
        ProvedRegion,
        ProvedUse,
        Reason,
        Report,
        Severity,
        Summary,
        Times,
        Verdict,
    )
    from pageproof.model.walk import (
        GAPS,
        EntryKind,
        MemoryGap,
        MemoryType,
        Outcome,
        Permissions,
        Range,
        Step,
        Walk,
    )

__all__ = [
    "ADDED",
    "GAPS",
    "HEX",
    "MAPS_SCHEMA",
    "SCHEMA",
    "UNSAVED",
    "WALK_SCHEMA",
    "Address",
    "Amount",
    "Answer",
    "AreaOwner",
    "Bits",
    "EntryKind",
    "FileFacts",
    "Finding",
    "MappedRun",
    "MappingFacts",
    "MapsReport",
    "MemoryGap",
    "MemoryType",
    "Outcome",
    "OwnerKind",
    "Paddr",
    "PageEvidence",
    "PageProof",
    "PageRun",
    "PagingFacts",
    "Permissions",
    "Pfn",
    "ProvedRegion",
    "ProvedUse",
    "Range",
    "Reason",
    "RegionFacts",
    "Report",
    "Route",
    "RouteContent",
    "SecondOpinion",
    "Severity",
    "SlabFacts",
    "SlabState",
    "SlotFacts",
    "Step",
    "StructPageFacts",
    "Summary",
    "SwapLayout",
    "TableSet",
    "TargetFacts",
    "TargetKind",
    "TaskFault",
    "Times",
    "Verdict",
    "VmaFacts",
    "VmaLine",
    "VmaResidency",
    "Walk",
    "WalkReport",
]

#: Modules with these names, each before those that import it.
_MODULES: Final = ("hexint", "walk", "facts", "report", "commands")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for module in _MODULES:
                found = vars(import_module(f"{__name__}.{module}"))
                if name in found:
                    globals()[name] = found[name]
                    return found[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps of a scenario that stay, to measure two versions of pageproof on the same guest."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pageproof_lab import LabError
from pageproof_lab.bench.mappers import Mapper
from pageproof_lab.bench.scenario import Scenario

_FACTS = "guest.json"
#: QEMU's formats, by target.
FORMS = {"elf": "elf", "compressed": "kdump-zlib"}


@dataclass(frozen=True)
class Kept:
    """A guest that has ended: its dumps, and what its kernel counted."""

    group: str  # the scenario, as an argument of mappers.c
    release: str
    accelerator: str
    module: str  # umh_shm.ko with its debug info
    mappers: Sequence[Mapper]


def keep(directory: Path, kept: Kept) -> None:
    """Write the facts beside the dumps."""
    part = directory / f"{_FACTS}.part"
    part.write_text(json.dumps(asdict(kept)))
    part.replace(directory / _FACTS)


def read_kept(directory: Path, scenario: Scenario, release: str) -> tuple[Kept, dict[str, Path]]:
    """Return a guest and its dumps by target.

    Raises:
        LabError: there is none, or it is that of another scenario or kernel.
    """
    path = directory / scenario.name / _FACTS
    try:
        read: dict[str, Any] = json.loads(path.read_text())
        mappers = [Mapper(**one) for one in read.pop("mappers")]
        kept = Kept(mappers=mappers, **read)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}; make it with --keep {directory}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabError(f"{path}: damaged ({error}); make it again with --keep") from error
    if (kept.group, kept.release) != (scenario.group, release):
        raise LabError(
            f"{path}: of {kept.group} on {kept.release}, not of {scenario.group} on {release}; "
            "use the options with which it was made"
        )
    dumps = {target: path.parent / target for target in FORMS if (path.parent / target).exists()}
    return kept, dumps

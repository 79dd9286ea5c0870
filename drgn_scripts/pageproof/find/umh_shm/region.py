# SPDX-License-Identifier: GPL-2.0-or-later
"""The region that the module umh_shm shares, read from its variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import drgn

from pageproof.errors import Exit, PageproofError
from pageproof.find.bounded import DamagedError
from pageproof.find.kernel.modules import is_named
from pageproof.model import RegionFacts
from pageproof.space.units import PAGE_BYTES

#: Name of the module.
MODULE: Final = "umh_shm"


@dataclass(frozen=True)
class FoundRegion:
    """A region, and the address of the file operations that mark its mappings."""

    facts: RegionFacts
    fops: int


def find_region(prog: drgn.Program) -> FoundRegion:
    """Find the region that ``umh_shm.ko`` shares.

    Raises:
        PageproofError: the module is not loaded, it has no debug info, or it has no memory.
    """
    try:
        loaded = is_named(prog, MODULE)
    except (drgn.FaultError, DamagedError) as error:
        raise PageproofError(
            f"cannot find {MODULE}: the list of modules: {error}", exit_code=Exit.UNDECIDED
        ) from None
    if not loaded:
        raise PageproofError(
            f"nothing to verify: the module {MODULE} is not loaded",
            "",
            f"load it (modprobe {MODULE}), or name addresses: verify --pid PID --user ADDRESS "
            "--kernel ADDRESS",
            Exit.UNDECIDED,
        )
    try:
        region = prog["umh_shm_region"]
        fops = prog["umh_shm_fops"].address_
        kernel_address = region.kaddr.value_()
        length = region.length.value_()
        backing = _enumerator(region.backing, "UMH_SHM_BACKING_")
        mapped = _enumerator(region.map, "UMH_SHM_MAP_")
    except (LookupError, AttributeError) as error:
        known = {module.name for module in prog.modules()}
        if known and MODULE not in known:
            # drgn leaves out a module of which it cannot read all (libdrgn/linux_kernel.c).
            raise PageproofError(
                f"cannot read where {MODULE} is loaded: memory of the module is missing",
                "",
                "a dump may be damaged, or lack pages or page tables",
                Exit.UNDECIDED,
            ) from None
        raise PageproofError(
            f"no debug info for {MODULE}.ko: {str(error.args[0]) if error.args else error}",
            "",
            f"give the .ko that was loaded, unstripped, with -s (-s …/{MODULE}.ko)",
        ) from None
    assert fops is not None  # a variable of a loaded module has an address
    if not kernel_address or not length:
        raise PageproofError(
            f"nothing to verify: {MODULE} has no memory now",
            "",
            "is it being loaded or unloaded? Try again",
            Exit.UNDECIDED,
        )
    facts = RegionFacts(
        name="umh_shm_region",
        kernel_address=kernel_address,
        length_bytes=length,
        pages=-(-length // PAGE_BYTES),
        backing=backing,
        map=mapped,
    )
    return FoundRegion(facts, fops)


def _enumerator(value: drgn.Object, prefix: str) -> str:
    """Return an enumerator's name in lower case without its prefix, or the number."""
    number = value.value_()
    for enumerator in value.type_.enumerators or ():
        if enumerator.value == number:
            return str(enumerator.name).removeprefix(prefix).lower()
    return str(number)

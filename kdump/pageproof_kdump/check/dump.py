# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of what would be saved: the room for it, makedumpfile, and its filter."""

from __future__ import annotations

from typing import Final

from pageproof.model.kdump import Checked, bad, ok, unknown
from pageproof.space.units import PAGE_BYTES
from pageproof_kdump.check.facts import SETUP, Facts
from pageproof_kdump.engine import Check, NoFact
from pageproof_kdump.filter import (
    CACHE,
    CACHE_PRIVATE,
    FREE,
    KEYS,
    USER,
    Key,
    keeps_free_pages,
    level_words,
    release_numbers,
    sound_level,
    unread_keys,
)
from pageproof_kdump.makedumpfile import COMPRESSIONS, Program

_INSTALL: Final = "install it (Debian: apt install makedumpfile)"
_KIB: Final = 1024
_SECTOR_BYTES: Final = 512  # of sysfs, whatever the disk has


def makedumpfile(facts: Facts) -> Checked:
    """Check that makedumpfile is there."""
    name = "makedumpfile"
    program = facts.program
    if program is None:
        return bad(name, "there is no makedumpfile: a dump would be a copy of all memory", _INSTALL)
    if not program.version:
        return unknown(name, f"{program.path} does not look like makedumpfile", _INSTALL)
    built = "an unknown set" if program.compressions is None else _listed(program.compressions)
    return ok(name, f"{program.name}, built with {built}", path=program.path)


def _listed(compressions: frozenset[str]) -> str:
    return ", ".join(one for one in COMPRESSIONS.values() if one in compressions)


def compression(facts: Facts) -> Checked:
    """Check that makedumpfile was built with the compression that it is asked for."""
    name = "compression"
    wanted, program = facts.wanted, facts.program
    if program is None:
        return unknown(name, "there is no makedumpfile", _INSTALL)
    if not wanted.compression:
        return ok(name, "none is asked for", arguments=wanted.text)
    if program.compressions is None:
        return unknown(
            name,
            f"{program.name} does not say what it was built with",
            f"compare: {program.path} -v",
            arguments=wanted.text,
        )
    if wanted.compression not in program.compressions:
        return bad(
            name,
            f"{program.name} was built without {wanted.compression}: it would write the pages as "
            "they are, and report success",
            f"use one that it has: {_listed(program.compressions)}",
            arguments=wanted.text,
        )
    return ok(name, f"{wanted.compression}", arguments=wanted.text)


def filtering(facts: Facts) -> Checked:
    """Check that this makedumpfile recognises this kernel's pages, at the level that is used."""
    name = "filter"
    program = facts.program
    if program is None:
        return ok(name, "without makedumpfile nothing is left out")
    level, origin = 31, "31, the usual one"
    try:
        wanted = facts.wanted
        # The first level that has the bit: it tries them in order until the dump fits.
        level = next((one for one in wanted.levels if one & USER), wanted.levels[0])
        origin = str(level)
    except NoFact:
        pass
    try:
        lost = unread_keys(facts.vmcoreinfo, program.data)
        is_sure = True
    except NoFact as error:
        lost, is_sure = _by_release(facts.machine.release, program), False
        reason = error
    if not level & USER:
        return ok(name, f"level {level} leaves out no page by mistake", level=level)
    if not lost:
        if is_sure:
            return ok(name, f"{program.name} recognises this kernel's pages", level=level)
        return unknown(
            name,
            f"{program.name} reads what Linux {facts.machine.release} should tell it, but this "
            f"kernel's VMCOREINFO cannot be compared: {reason}",
            reason.remedy,
            level=level,
        )
    keys = ", ".join(key.text for key in lost)
    sound = sound_level(level)
    what = (
        f"at level {origin}, {program.name} drops slab pages of Linux {facts.machine.release}, and "
        f"with them tasks and modules, and returns 0: it does not read {keys}"
    )
    where = ""
    settings = facts.settings
    if settings is not None:
        where = f" in {settings.file}"
    remedy = f"use -d {sound}{where}, or {lost[0].reads}"
    if not is_sure:
        return unknown(name, f"{what}, if this kernel has that; {reason}", remedy, level=level)
    return bad(name, what, remedy, level=level, keys=keys)


def _by_release(release: str, program: Program) -> tuple[Key, ...]:
    """Return the keys that a kernel of this release should have and the program does not read."""
    numbers = release_numbers(release)
    return tuple(
        key
        for key in KEYS
        if (numbers is None or numbers >= key.since) and key.text.encode() not in program.data
    )


def room(facts: Facts) -> Checked:
    """Check that there is room where the dump goes: for all that the level keeps, uncompressed."""
    name = "room"
    settings = facts.settings
    if settings is None:
        return unknown(name, "where a dump would go is not set up")
    if settings.remote:
        return unknown(
            name, f"dumps go to {settings.remote}", "look there whether a dump of this machine fits"
        )
    needed = _needed_kib(facts) * _KIB
    if settings.partition:
        at = where = f"/dev/{settings.partition}"
        # Its first page is the mark.
        size = facts.machine.number(f"/sys/class/block/{settings.partition}/size") * _SECTOR_BYTES
        free = size - PAGE_BYTES
    elif settings.directory:
        where = settings.directory
        at, free = facts.machine.bytes_free_at(where)
    else:
        return bad(
            name, f"what {settings.file} names for the dump is not there or not mounted", SETUP
        )
    shown = {
        "place": where,
        "file system": at,
        "free bytes": str(free),
        "needed bytes": str(needed),
    }
    words = f"{where} has room for {_size(free)}, and a dump now has up to {_size(needed)}"
    if free < needed:
        return bad(
            name,
            words,
            f"make room there, or choose another directory in {settings.file}",
            **shown,
        )
    return ok(name, f"{words}, uncompressed", **shown)


def _needed_kib(facts: Facts) -> int:
    """Return how much memory the level keeps now."""
    memory = facts.machine.memory_kib
    if "MemTotal" not in memory:
        raise NoFact("/proc/meminfo has no MemTotal")
    level = facts.wanted.levels[0]
    kept = memory["MemTotal"]
    program = facts.program
    version = program.version if program else ""
    if level & FREE and not keeps_free_pages(facts.machine.release, version):
        kept -= memory.get("MemFree", 0)
    if level & (CACHE | CACHE_PRIVATE):
        # Shared memory is in "Cached", but it is data of processes.
        kept -= max(memory.get("Cached", 0) - memory.get("Shmem", 0), 0)
    if level & USER:
        kept -= memory.get("AnonPages", 0)
    return max(kept, 0)


def _size(length: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if length >= unit:
            return f"{length / unit:.1f} {name}"
    return f"{length // _KIB} KiB"


def level(facts: Facts) -> Checked:
    """Report what the level leaves out."""
    wanted = facts.wanted
    first = wanted.levels[0]
    more = f", then {', '.join(map(str, wanted.levels[1:]))}" if wanted.levels[1:] else ""
    return ok("level", f"{first}{more}: without {level_words(first)}", arguments=wanted.text)


CHECKS: Final = (
    Check("makedumpfile", makedumpfile),
    Check("compression", compression),
    Check("level", level),
    Check("filter", filtering),
    Check("room", room),
)

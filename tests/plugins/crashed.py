# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps of a guest that panicked, for the tests in tests/vmcore."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine import ONE_A_KERNEL, Json, Machine, Region, Result, environment
from sharing import Everything
from standing import Standing

VERIFY = ("verify", "--kind", "umh_shm", "--format", "json")


@dataclass(frozen=True)
class Crashed:
    """Dumps of a guest, and its last reports before the panic.

    Attributes:
        machine: the guest, which has ended.
        live: report of verify on the module's region.
        maps: report of maps on a sleeping process.
        dumps: format -> file.
        everything: other shared memory; on one guest per kernel only.
        standing: format -> a drgn that keeps the dump open.
    """

    machine: Machine
    live: Json
    maps: Json
    dumps: dict[str, Path]
    everything: Everything | None
    standing: dict[str, Standing]

    def ask(self, name: str, *words: str | Path) -> Result:
        """Run a command on a dump, by a drgn that keeps it open (tests/standing.py)."""
        return Result(*self.standing[name].ask(*self.machine.symbols, *words))

    @property
    def two_dumps(self) -> list[str]:
        """Names of dumps for tests that do not depend on how pages are compressed.

        drgn reads ELF dumps, and libkdumpfile all others. For an omitted page an ELF dump has a
        hole, and the others have an explicit mark.
        """
        return [name for name in self.dumps if name in ("elf", "lzo")]


@pytest.fixture(scope="session")
def crashed(
    request: pytest.FixtureRequest, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crashed]:
    machine.load(Region("kzalloc", "remap", 4), allow_any=True)
    # No page may be all zeros: makedumpfile leaves a hole in an ELF dump for 256 or more adjacent
    # pages that it omits (PFN_EXCLUDED), and it is chance whether a zero page is next to such.
    writes = [word for page in "012" for word in ("--write", page, "4000", "c0ffee")]
    mapper = machine.map("--pages", "3", "--first", "1", *writes)
    live = machine.outside(*VERIFY)
    assert live.code == 0, live.out + live.err
    maps = machine.outside("maps", "--pid", str(mapper["pid"]), "--format", "json")
    assert maps.code == 0, maps.err
    some = machine.setup in ONE_A_KERNEL
    everything = request.getfixturevalue("everything") if some else None
    into = tmp_path_factory.mktemp(f"dump-{machine.setup}")
    dumps = machine.guest.crash(into, machine.setup.formats)
    standing = {
        name: Standing(("-c", str(dump)), machine.kernel.vmlinux, environment())
        for name, dump in dumps.items()
    }
    yield Crashed(machine, live.report, maps.report, dumps, everything, standing)
    for name, dump in dumps.items():
        standing[name].end()
        dump.unlink()

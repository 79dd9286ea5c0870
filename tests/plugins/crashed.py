# SPDX-License-Identifier: GPL-2.0-or-later
"""The dumps of a guest that panicked, for all tests of tests/vmcore that need one."""

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
    """A guest's last reports while it lived, and its dumps.

    Attributes:
        live: of the module's region.
        maps: of a sleeping process.
        everything: what programs shared, on one guest of each kernel.
    """

    machine: Machine
    live: Json
    maps: Json
    dumps: dict[str, Path]
    everything: Everything | None
    standing: dict[str, Standing]

    def ask(self, name: str, *words: str | Path) -> Result:
        """A command on a dump, by a drgn that keeps it open (tests/standing.py)."""
        return Result(*self.standing[name].ask(*self.machine.symbols, *words))

    @property
    def two_dumps(self) -> list[str]:
        """For what does not depend on how pages are packed: drgn reads ELF dumps, libkdumpfile
        all others; and where an ELF dump has a hole, the others say that a page was left out."""
        return [name for name in self.dumps if name in ("elf", "lzo")]


@pytest.fixture(scope="session")
def crashed(
    request: pytest.FixtureRequest, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crashed]:
    machine.load(Region("kzalloc", "remap", 4), allow_any=True)
    # No page may be all zeros: where makedumpfile leaves out 256 and more pages in a row
    # (PFN_EXCLUDED), an ELF dump has a hole, and what zeros happen to lie next to is chance.
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

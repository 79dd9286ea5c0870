# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of tests that need a kernel. One boot serves all tests of a set-up; the crash is last.

pytest sorts tests by the parameter of a session fixture, so each guest is booted once. Within a
guest the order is that of the directories: live before vmcore. With several workers (pytest-xdist)
one worker runs all tests of a guest.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from buglab import GUESTS as BUG_GUESTS
from fuzzmodule import QUIET
from machine import ONE_A_KERNEL, SETUPS, Json, Machine, Setup
from sharing import Everything, share_everything
from xdist.scheduler import LoadScopeScheduling

from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

pytest_plugins = ["plugins.skips", "plugins.onekernel", "plugins.bugs", "plugins.crashed"]

#: For hugetlbfs, for all tests of a guest; the programs of sharing.py use four.
HUGE_PAGES = 5
#: makedumpfile up to 1.7.6 does not recognise free pages of these kernels (its issue 16). Saving
#: them takes three times as long as all other pages, unless they are zeros.
BIG_DUMPS = ("6.12", "7.2")
KHUGEPAGED = "/sys/kernel/mm/transparent_hugepage/khugepaged"


#: Parts of node IDs; tests whose IDs have the same part share a guest.
GUESTS = (
    *map(str, SETUPS),
    *BUG_GUESTS,
    *(f"{kind}-{setup.kernel}" for kind in ("numa", "crowd") for setup in ONE_A_KERNEL),
    "debug-4level",
    "debug-5level",
    "test_debian.py",
    "test_unprepared.py",
    "test_flavours.py",
    "test_on_guests.py",  # its tests look for files that are left
)


class ByGuest(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives all tests of a guest to one worker, and other tests one by one.

    --dist loadgroup appends the group to Item._nodeid, which pytest 9.2 no longer has.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((guest for guest in GUESTS if guest in nodeid), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGuest:
    return ByGuest(config, log)


def parameters(setup: Setup) -> Iterator[str]:
    """Yield parameters of the kernel's command line."""
    yield f"hugepages={HUGE_PAGES}"
    if setup in ONE_A_KERNEL:
        # CONFIG_IO_STRICT_DEVMEM forbids mapping a driver's memory through /dev/mem.
        yield "iomem=relaxed"
        # memfd_secret() needs it before 6.5 (b758fe6df50d).
        yield "secretmem.enable=1"
        if setup.kernel in BIG_DUMPS:
            yield "init_on_free=1"


@pytest.fixture(scope="session", params=SETUPS, ids=str)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A guest of one set-up, up for all its tests."""
    setup: Setup = request.param
    # The debug kernel is a 6.12 too, so that all of a test's expectations hold for it.
    instead = os.environ.get("PAGEPROOF_DEBUG_KERNEL") == "1" and setup.kernel == "6.12"
    kernel = kernels.fetch(kernels.DEBUG.name if instead else setup.kernel)
    built = build.build(kernel)
    options = replace(
        qemu.DEBUG if instead else qemu.Options(),
        paging=setup.paging,
        kaslr=setup.kaslr,
        pti=setup.pti,
        cpus=setup.cpus,
        gdb=True,
        append=" ".join((*parameters(setup), *([QUIET] if instead else []))),
    )
    with boot.boot(kernel, options, built=built) as here:
        # Tests compare several reads; khugepaged would move pages between them.
        here.check("sh", "-c", f"echo {10**9} > {KHUGEPAGED}/scan_sleep_millisecs")
        with Machine(setup, here, kernel, built) as machine:
            yield machine


@pytest.fixture(scope="session")
def everything(machine: Machine) -> Everything:
    """Shared memory of all kinds, made once per guest. It stays until the guest ends."""
    return share_everything(machine)


@pytest.fixture
def loaded(machine: Machine) -> Iterator[Machine]:
    """The guest with the module loaded as in `ARTICLE`. Mappers of a test are ended after it."""
    machine.load()
    yield machine
    machine.end_mappers()


@pytest.fixture(scope="session")
def schema(checkout: Path) -> Json:
    """The schema of verify's JSON report."""
    text = (checkout / "drgn_scripts/pageproof/schema/report-1.json").read_text()
    found: Json = json.loads(text)
    return found


@pytest.fixture(scope="session")
def checkout() -> Path:
    return Path(__file__).resolve().parents[1]

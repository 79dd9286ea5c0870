# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the tests with a kernel: a boot serves all tests of a set-up, the crash comes last.

pytest sorts tests by the parameter of a session fixture, so every guest is up once; within
one guest the order is that of the directories: live before vmcore. With several workers
(pytest-xdist, --dist loadgroup) all tests of a guest go to one of them.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import SETUPS, Json, Machine, Setup

from pageproof_lab import boot, build, kernels, qemu

pytest_plugins = ["plugins.skips"]

KHUGEPAGED = "/sys/kernel/mm/transparent_hugepage/khugepaged"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one guest together."""
    callspec = getattr(item, "callspec", None)  # of parametrized tests only
    if callspec is not None and "machine" in callspec.params:
        item.add_marker(pytest.mark.xdist_group(str(callspec.params["machine"])))


@pytest.fixture(scope="session", params=SETUPS, ids=str)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A guest of one set-up, up for all its tests."""
    setup: Setup = request.param
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(paging=setup.paging, kaslr=setup.kaslr, pti=setup.pti)
    with boot.boot(kernel, options, built=built) as here:
        # Tests compare what they read one after the other; khugepaged would move pages in between.
        here.check("sh", "-c", f"echo {10**9} > {KHUGEPAGED}/scan_sleep_millisecs")
        yield Machine(setup, here, kernel, built)


@pytest.fixture
def loaded(machine: Machine) -> Iterator[Machine]:
    """The guest with the module as the article has it; what a test started is ended after it."""
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

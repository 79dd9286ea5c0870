# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with the debug kernel (docs/debug-kernel.md). Its own answers are the expected values."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fuzzmodule import QUIET
from machine import Machine, Setup

from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, firmware, kernels

#: The first has every row of the memory map.
SETUPS = (
    Setup("debug", 4, kaslr=True, pti=True, cpus=2),
    Setup("debug", 5, kaslr=True, pti=False, cpus=2),
)
NOT_BUILT = "the debug kernel is not in the cache; build it with: make debug-kernel"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "debug_kernel" in item.path.parts:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", params=SETUPS, ids=str)
def debugged(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A guest of the debug kernel with the module loaded."""
    setup: Setup = request.param
    if kernels.cached(kernels.DEBUG.name) is None:
        pytest.skip(NOT_BUILT)
    kernel = kernels.fetch(kernels.DEBUG.name)
    append = f"{QUIET} kasan_multi_shot vsyscall={'emulate' if setup.pti else 'xonly'}"
    options = replace(
        qemu.DEBUG,
        paging=setup.paging,
        pti=setup.pti,
        cpus=setup.cpus,
        append=append,
        firmware=firmware.uefi() if setup.pti else None,
    )
    built = build.build(kernel)
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as m,
    ):
        m.load()
        yield m

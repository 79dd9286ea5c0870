# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin: tests marked ``one_kernel`` run on the oldest kernel, or on the one that -k names.

Without this, ``-k 6.12`` would select none of them.
"""

import re
from collections.abc import Sequence

import pytest
from machine import ONE_A_KERNEL, Setup

_VERSION = re.compile(r"\d+\.\d+")


def chosen(keyword: str, setups: Sequence[Setup]) -> Setup:
    """Return the first set-up whose kernel the expression of -k names, else the first one."""
    named = set(_VERSION.findall(keyword))
    return next((setup for setup in setups if setup.kernel in named), setups[0])


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test marked ``one_kernel`` its guest, by a mark that overrides the fixture's own."""
    if metafunc.definition.get_closest_marker("one_kernel"):
        setup = chosen(metafunc.config.getoption("keyword"), ONE_A_KERNEL)
        mark = pytest.mark.parametrize("machine", [setup], indirect=True, ids=str)
        metafunc.definition.add_marker(mark)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel the tests run on that run on one kernel."""

import pytest
from machine import ONE_A_KERNEL
from plugins.onekernel import chosen


@pytest.mark.parametrize(
    ("keyword", "kernel"),
    [
        ("", "5.10"),
        ("helper", "5.10"),
        ("6.12", "6.12"),
        ("6.1", "6.1"),
        ("7.2-4level and helper", "7.2"),
        ("6.12 or 6.1", "6.1"),
        ("9.9", "5.10"),
    ],
)
def test_the_kernel_that_is_named(keyword: str, kernel: str) -> None:
    assert chosen(keyword, ONE_A_KERNEL).kernel == kernel

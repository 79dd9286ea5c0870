# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugin of pytest: a failed test shows the proofs of its ``pageproof.verify()`` calls.

pytest finds it by its entry point (group ``pytest11``). Options of pytest select the target, so
that the same tests run live, on a guest and on a vmcore:

    def test_ring(pageproof_verify):
        assert pageproof_verify(device="/dev/foo")

    $ pytest --pageproof-qemu /tmp/vm.sock --pageproof-symbols vmlinux
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

import pytest

from pageproof import api

_PROOFS = pytest.StashKey[list[api.Verification]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pageproof", "target of the fixture pageproof_verify (default: live)")
    group.addoption("--pageproof-qemu", metavar="SOCKET", help="a guest, by its QMP socket")
    group.addoption(
        "--pageproof-core",
        metavar="VMCORE",
        action="append",
        default=[],
        help="a vmcore; repeatable for the parts of a split one",
    )
    group.addoption(
        "--pageproof-symbols",
        metavar="FILE",
        action="append",
        default=[],
        help="debug info (vmlinux, *.ko) beside what drgn finds; repeatable",
    )
    group.addoption(
        "--pageproof-debug-info",
        choices=("auto", "dwarf", "btf"),
        default="auto",
        help="source of types and symbols (default: BTF if there is no DWARF)",
    )


@pytest.fixture(scope="session")
def pageproof_verify(pytestconfig: pytest.Config) -> Callable[..., api.Verification]:
    """Return ``pageproof.verify()`` for the target that pytest's options select."""
    return partial(
        api.verify,
        qemu=pytestconfig.getoption("--pageproof-qemu"),
        core=pytestconfig.getoption("--pageproof-core"),
        symbols=pytestconfig.getoption("--pageproof-symbols"),
        debug_info=pytestconfig.getoption("--pageproof-debug-info"),
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_PROOFS] = []
    with api.watched(item.stash[_PROOFS].append):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [("pageproof", str(one)) for one in item.stash.get(_PROOFS, [])]
    return report

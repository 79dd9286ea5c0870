# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is paused, that reboots, and whose QEMU is killed while pageproof is attached."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from machine import Result, environment, pageproof
from standing import Standing

from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest, monitor
from pageproof_lab.images import build, kernels

KERNEL = "6.12"
#: More than every deadline of attach/qmp.py together, on a busy host.
SECONDS = 150


@dataclass(frozen=True)
class Here:
    """A guest, and a pageproof that is attached to it."""

    guest: Guest
    attached: Standing

    def ask(self, *words: str) -> Result:
        start = time.monotonic()
        result = Result(*self.attached.ask(*words))
        assert time.monotonic() - start < SECONDS
        assert "Traceback" not in result.err and "bug in pageproof" not in result.err, result.err
        assert result.code in (0, 1, 2, 3), result
        assert result.code != 2 or result.err.startswith("pageproof: error: "), result
        return result


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    kernel = kernels.fetch(KERNEL)
    built = build.build(kernel)
    options = qemu.Options(memory_mib=512, cpus=1)
    with boot.boot(kernel, options, built=built) as guest:
        guest.load_module()
        target = "--qemu", str(guest.sockets.spare)
        attached = Standing(target, kernel.vmlinux, environment())
        yield Here(guest, attached)
        attached.end()


def test_paused(here: Here) -> None:
    """The memory of a paused guest is as good as that of a running one."""
    with closing(monitor(here.guest)) as control:
        control.call("stop")
        try:
            report = here.ask("verify", "--kind", "umh_shm", "--format", "json").report
            fresh = pageproof("--qemu", here.guest.sockets.qmp, "--debug-info", "btf", "regions")
        finally:
            control.call("cont")
    assert report["summary"]["same"] == 1, report["summary"]
    assert fresh.code == 0, fresh.err


def test_a_reboot(here: Here) -> None:
    """The attached pageproof has the addresses of the boot before."""
    with closing(monitor(here.guest)) as control:
        control.call("set-action", reboot="reset")
        control.call("system_reset")
    for command in (("verify",), ("regions",), ("audit",), ("kmap",)):
        here.ask(*command, "--format", "json")


def test_killed(here: Here) -> None:
    assert here.guest.running is not None
    here.guest.running.end()
    for command in (("verify",), ("walk", "_text"), ("audit",), ("maps", "--pid", "1")):
        result = here.ask(*command, "--format", "json")
        assert result.code in (2, 3), result
    gone = pageproof("--qemu", here.guest.sockets.qmp, "verify")
    assert gone.code == 2
    assert "pageproof: error: " in gone.err

# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of a driver's author: pageproof.verify(), and the output of pytest for a failure."""

import os
import subprocess
import sys
from pathlib import Path

from machine import COMMAND_SECONDS, ROOT, Machine, Region, on_one_kernel
from wheels import entry_points, install, make_wheel

pytestmark = on_one_kernel

TESTS = """
import pageproof
import pytest

RING = 'cast("struct umh_shm_region *", file.private_data).kaddr'


def test_sound(pageproof_verify):
    assert pageproof_verify(device="/dev/umh_shm", kernel=RING)
    assert pageproof_verify(kinds=["umh_shm"]).report.summary.same == 4


def test_wrong():
    target = {{"qemu": {socket!r}, "symbols": {symbols!r}}}
    assert pageproof.verify(**target, device="/dev/umh_shm", kernel=f"{{RING}} + 4096")


def test_nobody_maps_it(pageproof_verify):
    proof = pageproof_verify(device="/dev/umh_sh")
    assert not proof
    assert repr(proof) == (
        "<pageproof: no page was compared; "
        "no process maps /dev/umh_sh now: there is nothing to verify>"
    )


def test_usage(pageproof_verify):
    with pytest.raises(pageproof.PageproofError, match="--kernel goes with --user or --device"):
        pageproof_verify(kernel=RING)
    with pytest.raises(pageproof.PageproofError, match="choose from auto, dwarf, btf"):
        pageproof_verify(debug_info="stabs")
"""


def test_a_drivers_own_tests(machine: Machine, tmp_path: Path) -> None:
    machine.load(Region("pages", "insert", 4))
    points = entry_points(ROOT / "pyproject.toml")
    wheel = make_wheel(tmp_path, "pageproof", "0.1.0", {}, points)
    environment = install(tmp_path / "site", wheel)
    socket, symbols = str(machine.guest.sockets.qmp), list(machine.symbols[1::2])
    tests = tmp_path / "test_driver.py"
    tests.write_text(TESTS.format(socket=socket, symbols=symbols))
    options = [f"--pageproof-qemu={socket}", *(f"--pageproof-symbols={one}" for one in symbols)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(tests)],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    said = done.stdout
    assert "1 failed, 3 passed" in said, said
    assert "FAILED test_driver.py::test_wrong" in said
    assert "assert <pageproof: 4 pages: 4 DIFFERENT; page 0 of pid" in said
    section = said[said.index("- pageproof -") :]
    frame = f"PFN 0x{machine.pfns()[0]:x}"
    assert frame in section
    assert "PTE" in section

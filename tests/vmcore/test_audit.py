# SPDX-License-Identifier: GPL-2.0-or-later
"""All bugs that audit knows in the kernel at once, and a panic: its vmcore shows them as well."""

from pathlib import Path

import pytest
from auditbugs import BUGS, is_expected, make_bugs
from machine import ONE_A_KERNEL, Machine, Setup, pageproof

from pageproof_lab import boot, build, kernels, qemu


@pytest.mark.long
@pytest.mark.parametrize("setup", ONE_A_KERNEL, ids=lambda setup: setup.kernel)
def test_all_bugs_at_once_are_found(setup: Setup, tmp_path: Path) -> None:
    """In a guest of its own: the bugs stay. With all of them kexec may find no memory any more."""
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(paging=setup.paging, kaslr=setup.kaslr, pti=setup.pti)
    with boot.boot(kernel, options, built=built) as guest:
        machine = Machine(setup, guest, kernel, built)
        guest.load_crash_kernel(("lzo",))
        made = make_bugs(machine, list(BUGS))
        dump = guest.panic(tmp_path, ("lzo",))["lzo"]
    result = pageproof("-c", str(dump), *machine.symbols, "audit", "--format", "json")
    assert result.code == 1, result.err + result.out
    is_expected(result.report, made)

# SPDX-License-Identifier: GPL-2.0-or-later
"""All bugs of audit in one kernel, and a panic: audit finds them live and in the vmcore."""

from pathlib import Path

import pytest
from auditbugs import BUGS, is_expected, make_bugs
from machine import ONE_A_KERNEL, Machine, Result, Setup, pageproof

from pageproof.judge.audit import CHECKS
from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

AUDIT = ("audit", "--format", "json")


@pytest.mark.long
@pytest.mark.parametrize("setup", ONE_A_KERNEL, ids=lambda setup: setup.kernel)
def test_all_bugs_at_once_are_found(setup: Setup, tmp_path: Path) -> None:
    """Use a separate guest, as the bugs stay. With all of them kexec may not find memory."""
    live, core = tmp_path / "live.json", tmp_path / "core.json"
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(paging=setup.paging, kaslr=setup.kaslr, pti=setup.pti)
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as machine,
    ):
        guest.load_crash_kernel(("lzo",))
        made = make_bugs(machine, list(BUGS))
        assert machine.outside(*AUDIT, "-o", str(live)).code == 1
        dump = guest.panic(tmp_path, ("lzo",))["lzo"]
    result = pageproof("-c", dump, *machine.symbols, *AUDIT)
    assert result.code == 1, result.err + result.out
    is_expected(result.report, made)
    core.write_text(result.out, encoding="utf-8")
    is_no_worse(pageproof("diff", live, core, "--format", "json"))


def is_no_worse(result: Result) -> None:
    """Check that the bugs are at the same places. Pages that the dump omits may be undecided."""
    assert result.code in (0, 3), result.err + result.out
    report = result.report
    kinds = [report[side]["target"]["kind"] for side in ("old", "new")]
    assert (kinds, report["boot"]) == (["qemu", "core"], []), result.out
    new = [one["finding"] for one in report["findings"] if one["change"] == "new"]
    assert [one for one in new if one["severity"] != "note"] == []
    assert report["summary"]["compared"] == len(CHECKS)

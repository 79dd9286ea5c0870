# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports of a vmcore are the same with types from DWARF and from BTF."""

from pathlib import Path

import pytest
from equalforms import check_equal, commands, on_the_host, request, system_map
from machine import each_kernel_with_btf, number
from plugins.crashed import Crashed


@each_kernel_with_btf
@pytest.mark.parametrize("form", ["elf", "lzo"])
def test_equal_reports(crashed: Crashed, tmp_path: Path, form: str) -> None:
    proof = crashed.live["proofs"][0]["evidence"]
    pid = str(crashed.maps["process"]["pid"])
    user = hex(number(crashed.maps["vmas"][0]["line"]["vma"]["start"]))
    asked = commands(crashed.machine, proof["kernel_walk"]["address"], pid, user, live=False)
    dwarf = crashed.machine.symbols[1::2]
    btf = system_map(crashed.machine, tmp_path)
    out = on_the_host(request(asked, dwarf, btf, str(crashed.dumps[form])))
    assert check_equal(out, "the target") == len(asked)

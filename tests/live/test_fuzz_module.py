# SPDX-License-Identifier: GPL-2.0-or-later
"""The fuzzer of the module's interface, for a short while. `make fuzz-module` runs it for hours."""

import fuzzmodule
import pytest
from fuzz_rounds import bad
from fuzzmodule import Fault, Fuzzing
from machine import Machine, on_one_kernel

#: Kinds of calls of which some must be done in so short a run.
DONE = ("mmap", "munmap", "mprotect", "touch", "open", "read", "write", "poll", "attribute-read")


@on_one_kernel
def test_calls(machine: Machine) -> None:
    machine.unload()
    fuzzing = Fuzzing(machine.guest)
    fuzzing.round(1, 1000, leaks=False)
    assert fuzzing.calls >= 1000
    assert {kind for kind in DONE if not fuzzing.kinds[kind]} == set()
    # Without rmmod, and with a helper that is killed.
    fuzzing.phase("kills", "--turns", 2)
    fuzzing.phase("loads", "--turns", 2)


@on_one_kernel
def test_what_the_kernel_reports_is_a_fault(machine: Machine) -> None:
    """A line in the kernel's log, written by hand during a phase."""
    machine.unload()
    # Without WARNING or BUG: another test searches the whole log of this guest for these.
    line = "INFO: trying to register non-static key (written by a test)"
    loop = f"while sleep 0.2; do echo '{line}' > /dev/kmsg; done"
    start = f'sh -c "{loop}" >/dev/null 2>&1 </dev/null & echo $!'
    pid = machine.guest.check("sh", "-c", start).strip()
    try:
        with pytest.raises(Fault, match="non-static key"):
            Fuzzing(machine.guest).phase("kills", "--turns", 2)
    finally:
        machine.guest.check("kill", pid)


def test_bad_lines() -> None:
    for line in (
        "WARNING: possible circular locking dependency detected",
        "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "UBSAN: array-index-out-of-bounds in proto.c:321:3",
        "kernel BUG at mm/page_table_check.c:112!",
        "INFO: task rmmod:512 blocked for more than 120 seconds.",
        "INFO: trying to register non-static key.",
    ):
        assert bad(line), line
    for line in (
        "umh_shm: unhealthy: no valid answer from the helper: error -110",
        "umh_shm: loading out-of-tree module taints kernel.",
    ):
        assert not bad(line), line


def test_memory_that_is_gone() -> None:
    before = {"MemAvailable": 1000, **dict.fromkeys(fuzzmodule.GROWS, 10)}
    after = {**before, "MemAvailable": 900, "Percpu": 15}
    assert fuzzmodule.lost(before, after) == {
        "MemAvailable": 100,
        **dict.fromkeys(fuzzmodule.GROWS, 0),
        "Percpu": 5,
    }

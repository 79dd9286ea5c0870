# SPDX-License-Identifier: GPL-2.0-or-later
"""A live report before a panic, compared with one of the dump that was saved after it."""

import json
from dataclasses import dataclass
from pathlib import Path

from machine import pageproof

from pageproof_lab.guest.guest import Guest

#: Memory that every process shares with the kernel. The guest agent lives until the panic.
_VERIFY = ("verify", "--kind", "vdso", "--format", "json", "--pid")
_AGENT = "qemu-ga"


@dataclass(frozen=True)
class Live:
    """The last report before a panic, and the process that it is about."""

    report: Path
    pid: str


def live_report(guest: Guest, into: Path) -> Live:
    """Write the last report before a panic, from outside."""
    live = Live(into / "live.json", guest.check("pidof", _AGENT).split()[0])
    result = pageproof("--qemu", guest.sockets.qmp, *_VERIFY, live.pid, "-o", live.report)
    assert result.code in (0, 3), result.out + result.err
    return live


def is_the_same(live: Live, dump: Path) -> None:
    """Check that a dump's report shows no change since the live one.

    A page that the process never used is not present, before and after: hence exit code 3.
    """
    core = dump.with_name(f"{dump.name}.json")
    result = pageproof("-c", dump, *_VERIFY, live.pid, "-o", core)
    assert result.code in (0, 3), result.out + result.err
    before, after = (json.loads(path.read_text())["summary"] for path in (live.report, core))
    assert after["same"] == before["same"] > 0
    compared = pageproof("diff", live.report, core, "--format", "json")
    assert compared.code in (0, 3), compared.out + compared.err
    for what in ("boot", "regions", "mappings", "verdicts", "frames"):
        assert compared.report[what] == [], what

# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof kdump` against golden files and its schema."""

import json
from pathlib import Path

import jsonschema
import pytest
from unit.golden import matches_golden
from unit.schemas import fits_schema, schema

from pageproof.errors import Exit
from pageproof.model.kdump import (
    KDUMP_SCHEMA,
    Checked,
    KdumpReport,
    bad,
    exit_of,
    ok,
    unknown,
)
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "kdump"
SOUND = ok("loaded", "a capture kernel is loaded")
ADVISED = ok("panic", "an oops leaves no dump", "sysctl kernel.panic_on_oops=1", panic_on_oops=0)
TRAP = bad("filter", "makedumpfile drops slab pages", "use -d 23", level=31)
AGAIN = bad("room", "there is none", "use -d 23")
UNREAD = unknown("kernel-config", "the configuration is nowhere")


def report(*checks: Checked, command: str = "check") -> KdumpReport:
    return KdumpReport(
        schema=KDUMP_SCHEMA,
        version="0.1",
        command=command,
        subject="\x1b[31mhost" if command == "check" else "/var/crash/vmcore",
        release="7.2.12",
        checks=checks,
        exit_code=exit_of(checks),
    )


ALL = report(SOUND, ADVISED, TRAP, AGAIN, UNREAD)


def test_text() -> None:
    matches_golden(GOLDEN / "check.txt", to_text(ALL))
    matches_golden(GOLDEN / "check-verbose.txt", to_text(ALL, verbose=True))
    matches_golden(GOLDEN / "verify.txt", to_text(report(SOUND, command="verify")))


def test_json() -> None:
    matches_golden(GOLDEN / "check.json", report_to_json(ALL))
    fits_schema("kdump-1.json", ALL)


def test_a_report_without_checks_does_not_fit() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(report_to_json(report())), schema("kdump-1.json"))


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((SOUND, ADVISED), Exit.SOUND),
        ((SOUND, UNREAD), Exit.UNDECIDED),
        ((SOUND, TRAP, UNREAD), Exit.WRONG),
        ((), Exit.UNDECIDED),
    ],
)
def test_exit_codes(checks: tuple[Checked, ...], code: Exit) -> None:
    assert exit_of(checks) == code


def test_states_are_all_drawn() -> None:
    text = to_text(ALL)
    assert "2 ok, 2 bad, 1 unknown" in text
    assert "\x1b" not in text

# SPDX-License-Identifier: GPL-2.0-or-later
"""The options offer exactly the forms that the table has."""

from __future__ import annotations

import argparse

import pytest

from pageproof.front import COMMANDS, OFFLINE, Command, Offline
from pageproof.model import MapsReport, Report, WalkReport
from pageproof.model.alias import AliasReport
from pageproof.model.audit import AuditReport
from pageproof.model.auditdiff import AuditDiffReport
from pageproof.model.diff import DiffReport
from pageproof.model.kdump import KdumpReport
from pageproof.model.kmap import KernelMap
from pageproof.model.regions import RegionsReport
from pageproof.model.whatis import WhatisReport
from pageproof.render.draw.kmap import ExplainedArea
from pageproof.render.draw.rules import ExplainedRules, ListedRules
from pageproof.render.table import REPORTS, forms_of
from pageproof_kdump.check.command import CHECK
from pageproof_kdump.verify.command import VERIFY

REPORT_OF: dict[str, tuple[type, ...]] = {
    "verify": (Report,),
    "regions": (RegionsReport,),
    "walk": (WalkReport,),
    "maps": (MapsReport,),
    "kmap": (KernelMap,),
    "whatis": (WhatisReport,),
    "alias": (AliasReport,),
    "audit": (AuditReport,),
    "diff": (DiffReport, AuditDiffReport),
    "explain": (ExplainedRules,),
    "kdump check": (KdumpReport,),
    "kdump verify": (KdumpReport,),
}


@pytest.mark.parametrize("command", [*COMMANDS, *OFFLINE, CHECK, VERIFY], ids=lambda one: one.name)
def test_options(command: Command | Offline) -> None:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    offered = {
        form
        for action in parser._actions
        if action.dest == "format"
        for form in (action.choices or [action.const])
    }
    if command.name == "watch":  # its records are written one by one
        assert offered == {"text", "json", "junit"}
        return
    for kind in REPORT_OF[command.name]:
        assert set(forms_of(kind)) == offered


def test_each_type_is_some_command_s() -> None:
    reports = {kind for kinds in REPORT_OF.values() for kind in kinds}
    names = [kind.__name__ for kind in (*reports, ListedRules, ExplainedArea)]
    assert sorted(REPORTS) == sorted(names)


def test_answers_that_are_text_only() -> None:
    assert forms_of(ListedRules) == forms_of(ExplainedArea) == ("text",)

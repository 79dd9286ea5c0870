# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of reports and forms: which function draws a report, and which forms there are.

A form that is made from a sheet or from the model, as text and JSON are, exists for every report
as soon as it is in :data:`FORMS`. JUnit and drgn code exist for reports that have a function of
their own for them.

A new form for every report is a module ``*form`` beside this one, an entry in :data:`FORMS`, and
its name in ``FORMS`` of :mod:`pageproof.front.command`, which ``--format`` offers.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pageproof.render import PLAIN_WIDTH, Options, Write

if TYPE_CHECKING:
    from pageproof.render.sheet import Sheet


def _write_json(report: Any, write: Write) -> None:
    from pageproof.render.jsonform import write_json

    write_json(report, write)


@dataclass(frozen=True)
class Drawing:
    """How reports of a type are written.

    Attributes:
        draw: lays a report out on a sheet, from which text is made.
        json: writes a report as JSON; None for answers that are text only.
        junit: returns a report as JUnit XML, if there is such a form.
        drgn: returns drgn code that does the same, if there is such a form.
    """

    draw: Callable[[Any, Sheet], None]
    json: Callable[[Any, Write], None] | None = _write_json
    junit: Callable[[Any, Options], str] | None = None
    drgn: Callable[[Any], str] | None = None


def _verify() -> Drawing:
    from pageproof.render.draw.verify import draw_verify

    return Drawing(draw_verify, junit=_verify_to_junit)


def _verify_to_junit(report: Any, options: Options) -> str:
    from pageproof.render.junit.verify import verify_to_junit

    return verify_to_junit(report, options.rules, strict=options.strict)


def _regions() -> Drawing:
    from pageproof.render.draw.regions import draw_regions

    return Drawing(draw_regions)


def _walk() -> Drawing:
    from pageproof.render.draw.walk import draw_walk
    from pageproof.render.drgn.walk import walk_to_drgn

    return Drawing(draw_walk, drgn=walk_to_drgn)


def _maps() -> Drawing:
    from pageproof.render.draw.maps import draw_maps
    from pageproof.render.drgn.maps import maps_to_drgn

    return Drawing(draw_maps, drgn=maps_to_drgn)


def _kmap() -> Drawing:
    from pageproof.render.draw.kmap import draw_kmap
    from pageproof.render.drgn.kmap import kmap_to_drgn

    return Drawing(draw_kmap, drgn=kmap_to_drgn)


def _whatis() -> Drawing:
    from pageproof.render.draw.whatis import draw_whatis
    from pageproof.render.drgn.whatis import whatis_to_drgn

    return Drawing(draw_whatis, drgn=whatis_to_drgn)


def _alias() -> Drawing:
    from pageproof.render.draw.alias import draw_alias
    from pageproof.render.drgn.alias import alias_to_drgn

    return Drawing(draw_alias, drgn=alias_to_drgn)


def _audit() -> Drawing:
    from pageproof.render.draw.audit import draw_audit
    from pageproof.render.junit.audit import audit_to_junit

    return Drawing(draw_audit, junit=lambda report, options: audit_to_junit(report))


def _diff() -> Drawing:
    from pageproof.render.draw.diff import draw_diff

    return Drawing(draw_diff)


def _audit_diff() -> Drawing:
    from pageproof.render.draw.auditdiff import draw_audit_diff

    return Drawing(draw_audit_diff)


def _kdump() -> Drawing:
    from pageproof.render.draw.kdump import draw_kdump

    return Drawing(draw_kdump)


def _explained() -> Drawing:
    from pageproof.render.draw.rules import draw_explained, write_explained_json

    return Drawing(draw_explained, json=write_explained_json)


def _listed() -> Drawing:
    from pageproof.render.draw.rules import draw_listed

    return Drawing(draw_listed, json=None)


def _explained_area() -> Drawing:
    from pageproof.render.draw.kmap import draw_explained_area

    return Drawing(draw_explained_area, json=None)


#: By the name of the report's type. What is not in the model is an answer of one command's option.
#: Each drawing is loaded when it is used: all of them take a tenth of a short command's time.
REPORTS: Final[dict[str, Callable[[], Drawing]]] = {
    "Report": _verify,
    "RegionsReport": _regions,
    "WalkReport": _walk,
    "MapsReport": _maps,
    "KernelMap": _kmap,
    "WhatisReport": _whatis,
    "AliasReport": _alias,
    "AuditReport": _audit,
    "DiffReport": _diff,
    "AuditDiffReport": _audit_diff,
    "KdumpReport": _kdump,
    "ExplainedRules": _explained,
    "ListedRules": _listed,
    "ExplainedArea": _explained_area,
}


def _text(report: Any, drawing: Drawing, options: Options, write: Write) -> None:
    from pageproof.render.textform import write_sheet  # here, because rich takes long to load

    sheet = _sheet(report, drawing, options)
    write_sheet(sheet, write, color=options.color, width=options.width)


def _json(report: Any, drawing: Drawing, options: Options, write: Write) -> None:
    assert drawing.json is not None
    drawing.json(report, write)


def _junit(report: Any, drawing: Drawing, options: Options, write: Write) -> None:
    assert drawing.junit is not None
    write(drawing.junit(report, options))


def _drgn(report: Any, drawing: Drawing, options: Options, write: Write) -> None:
    assert drawing.drgn is not None
    write(drawing.drgn(report))


#: By the name of the form, as ``--format`` has it. Each writes a report, with a newline at its end.
FORMS: Final[dict[str, Callable[[Any, Drawing, Options, Write], None]]] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "drgn": _drgn,
}


def _sheet(report: Any, drawing: Drawing, options: Options) -> Sheet:
    from pageproof.render.sheet import Sheet

    sheet = Sheet(verbose=options.verbose)
    drawing.draw(report, sheet)
    return sheet


def forms_of(kind: type) -> tuple[str, ...]:
    """Return the names of the forms that reports of a type have."""
    drawing = REPORTS[kind.__name__]()
    if drawing.json is None:
        return ("text",)
    own = {"junit": drawing.junit, "drgn": drawing.drgn}
    return tuple(name for name in FORMS if own.get(name, drawing.draw) is not None)


def write_report(report: Any, form: str, options: Options, write: Write) -> None:
    """Write a report in one of its forms, with a newline at its end.

    Args:
        report: of a type in :data:`REPORTS`.
        form: a name in :func:`forms_of`.
        options: how to write it.
        write: receives the text piece by piece.
    """
    FORMS[form](report, REPORTS[type(report).__name__](), options, write)


def to_text(
    report: Any, *, verbose: bool = False, color: bool = False, width: int = PLAIN_WIDTH
) -> str:
    """Return a report as text; see :class:`Options`."""
    out = io.StringIO()
    options = Options(verbose=verbose, color=color, width=width)
    write_report(report, "text", options, out.write)
    return out.getvalue()

# SPDX-License-Identifier: GPL-2.0-or-later
"""A replay as text and as JSON."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pageproof.render.printable import printable, printable_json
from pageproof_lab.article.steps import Row, Seen, Step, Transcript

SCHEMA = "pageproof/article-1"
WIDTH = 100
_INDENT = "   "
_WHAT = 24
_THEN = 20
_NOW = WIDTH - len(_INDENT) - 3 - _WHAT - _THEN


def step_text(number: int, step: Step) -> str:
    """Return a step as text, without a line end."""
    lines = [f"━━ {number}. {step.title}", ""]
    lines += [f"{_INDENT}(gdb) {command}" for command in step.gdb]
    if step.gdb:
        lines.append("")
    lines += _wrapped(step.text, WIDTH - len(_INDENT), _INDENT)
    lines.append("")
    then = "the article" if any(row.then for row in step.rows) else ""
    lines.append(f"{_INDENT}{'':3}{'':{_WHAT}}{then:{_THEN}}this kernel".rstrip())
    for row in step.rows:
        lines += _row(row)
    if step.seen:
        lines += ["", *_table(step.seen)]
    return "\n".join(printable(line) for line in lines)


def _row(row: Row) -> Iterator[str]:
    mark = {True: "ok", False: "NO", None: ""}[row.ok]
    both = f"{row.now}  {row.words}".rstrip()
    lines = [both] if len(both) <= _NOW else [*_wrapped(row.now, _NOW), *_wrapped(row.words, _NOW)]
    yield f"{_INDENT}{mark:3}{row.what:{_WHAT}}{row.then:{_THEN}}{lines[0]}"
    yield from (" " * (WIDTH - _NOW) + line for line in lines[1:])
    wide = " " * (len(_INDENT) + 3 + _WHAT)
    for reason in row.why:
        yield from _wrapped(reason, WIDTH - len(wide), wide)
    if row.ok is False:
        yield from _wrapped(
            f"NOT AS EXPECTED: it should be {row.expected}", WIDTH - len(wide), wide
        )


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    # vm_flags have no spaces: break them at their bars.
    apart = text.replace("|", "| ") if len(text) > width else text
    lines = textwrap.wrap(apart, width, break_on_hyphens=False)
    return [indent + line.replace("| ", "|") for line in lines]


def _table(seen: tuple[Seen, ...]) -> Iterator[str]:
    for number, one in enumerate(seen, 1):
        value = one.after if one.before == one.after else f"{one.before} → {one.after}"
        times = "once" if one.accesses == 1 else f"{one.accesses} times"
        start = (
            f"{_INDENT}{number:>2}  {one.side:8}{one.access:7}{one.field:9}{value:26}{times:>11}"
        )
        yield f"{start}  {one.comm} ({one.pid})"
        pad = " " * (len(_INDENT) + 12)
        yield from _wrapped(", ".join(one.code), WIDTH - len(pad), pad)


def end_text(transcript: Transcript) -> str:
    """Return the last line."""
    wrong = [number for number, step in enumerate(transcript.steps, 1) if not step.ok]
    if not wrong:
        return f"All {len(transcript.steps)} steps showed what they should."
    numbers = " and ".join(map(str, wrong))
    return f"NOT AS EXPECTED: step {numbers} of {len(transcript.steps)}."


def to_json(transcript: Transcript) -> str:
    """Return a replay as JSON."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "release": transcript.release,
        "append": transcript.append,
        "parameters": transcript.parameters,
        "ok": transcript.ok,
        "steps": [
            {"number": number, "ok": step.ok, **asdict(step)}
            for number, step in enumerate(transcript.steps, 1)
        ],
    }
    for step in document["steps"]:
        for one in step["seen"]:
            one["address"] = f"{one['address']:#x}"
    return printable_json(json.dumps(document, indent=2, ensure_ascii=False))

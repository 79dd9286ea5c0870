# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the table of docs/dumps.md from what tests/vmcore/test_formats.py kept in build/formats."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build/formats"
DOCUMENT = ROOT / "docs/dumps.md"
START, END = "<!-- table of formats -->\n", "<!-- end of the table -->"
KERNELS = ("5.10", "6.1", "6.12", "7.2")
LEVEL = ", level "


def cell(said: dict[str, str]) -> str:
    """Return one cell: outcome, and the levels that it is of; "" is a dump without a level."""
    levels: dict[str, list[str]] = {}
    for level, outcome in said.items():
        levels.setdefault(outcome.replace("|", "/"), []).append(level)
    if len(levels) == 1:
        return next(iter(levels))
    return "; ".join(f"{', '.join(some)}: {outcome}" for outcome, some in levels.items())


def table(kept: dict[str, dict[str, object]]) -> str:
    """Return the table of some kernels' outcomes."""
    rows: dict[str, dict[str, dict[str, str]]] = {}
    for kernel, found in kept.items():
        outcomes = found["rows"]
        assert isinstance(outcomes, dict)
        for name, outcome in outcomes.items():
            form, _, level = name.partition(LEVEL)
            rows.setdefault(form, {}).setdefault(kernel, {})[level] = outcome
    lines = ["| format | " + " | ".join(kept) + " |", "|---" * (len(kept) + 1) + "|"]
    for form, by_kernel in rows.items():
        cells = [cell(by_kernel[kernel]) if kernel in by_kernel else "" for kernel in kept]
        lines.append(f"| {form} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Write the table; the exit code is 1 if a kernel is missing."""
    kept = {
        kernel: json.loads((KEPT / f"{kernel}.json").read_text())
        for kernel in KERNELS
        if (KEPT / f"{kernel}.json").exists()
    }
    if len(kept) < len(KERNELS):
        print(f"only {', '.join(kept) or 'no kernel'} in {KEPT}; run: make test-formats")
        return 1
    text = DOCUMENT.read_text()
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    programs = " and ".join(sorted({one["makedumpfile"].split(": ")[-1] for one in kept.values()}))
    by = f"makedumpfile: {programs}.\n\n"
    DOCUMENT.write_text(f"{head}{START}{by}{table(kept)}\n{END}{tail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged and hostile dumps: each case ends in a documented way, and with no false word.

`make test-hostile` runs all cases. One case by its number: ``python tests/hostile --case N``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.bases import bases
from hostile.cases import ALL, FEW, kernel_of

#: Cases of one test. Each test copies the dumps that its cases need.
_CHUNK = 250
_CHUNKS = tuple(range(first, first + _CHUNK) for first in range(0, ALL, _CHUNK))


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(one, marks=[] if one.stop <= FEW else [pytest.mark.long], id=f"from-{one[0]}")
        for one in _CHUNKS
    ],
)
def test_cases(numbers: range, tmp_path: Path) -> None:
    for kernel in sorted(set(map(kernel_of, numbers))):
        bases(kernel)
    counts = tmp_path / "counts.json"
    # In a process of its own: this one may have threads of drgn, which a fork would lack.
    words: list[str | Path] = [
        Path(__file__).parent,
        "--run",
        f"{numbers[0]}-{numbers[-1]}",
        "--json",
        counts,
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    found = json.loads(counts.read_text())
    assert sum(number for *_, number in found["ends"]) == len(numbers)
    # The damage has an effect, and not every dump is refused.
    assert {end for _, end, _ in found["ends"]} == {"decided", "message", "unknown"}

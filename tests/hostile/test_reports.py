# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile saved reports: diff and --baseline refuse them or read them, within bounds.

The reports are the golden ones, with a value replaced or a byte changed. The seed of a case is its
number.
"""

import contextlib
import io
import json
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pageproof import cli
from pageproof.errors import PageproofError
from pageproof.files.baseline import parse_baseline
from pageproof.files.saved import read_report

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
REPORTS = ("several.json", "wrong.json", "article.json", "audit/broken.json")
CASES = 100
#: By how many bytes the peak of this process, which other tests share, may grow. A case needs a
#: few MiB.
MEMORY = 600 << 20
EXTREMES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 31, 1 << 63, 1 << 64, -(1 << 63), 10**4000, 1e308, -1e308, 0.5,
    "", "0x", "0x0", "0xffffffffffffffff", "0x1" + "0" * 400, "A" * (1 << 20), "\x1b]0;x\x07\n",
    "\ud800", "../../etc/passwd", [], {}, [[]], [None] * 1000, {"a": {}}, {"": None},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value if _is(value) else ())
    for key, one in items:
        yield from places(one, (*path, key))


def _is(value: Any) -> bool:
    return isinstance(value, list)


def spoiled(text: str, seed: int) -> bytes:
    rng = random.Random(seed)
    if rng.random() < 0.2:
        data = bytearray(text.encode())
        for _ in range(rng.choice((1, 1, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
    report = json.loads(text)
    for _ in range(rng.choice((1, 1, 3))):
        path = rng.choice(list(places(report))[1:] or [()])
        holder = report
        for key in path[:-1]:
            holder = holder[key]
        if not path:
            continue
        if rng.random() < 0.15 and isinstance(holder, dict):
            del holder[path[-1]]
        elif rng.random() < 0.1 and isinstance(holder, list):
            holder += holder * 50
        else:
            holder[path[-1]] = rng.choice(EXTREMES)
    return json.dumps(report).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", REPORTS)
def test_diff(tmp_path: Path, name: str) -> None:
    whole = GOLDEN / name
    bad = tmp_path / "bad.json"
    codes = set()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(CASES):
        bad.write_bytes(spoiled(whole.read_text(), seed))
        pair = [str(whole), str(bad)] if seed % 2 else [str(bad), str(whole)]
        out, err = io.StringIO(), io.StringIO()
        start = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(["diff", *pair, "--format", ("json", "text")[seed % 3 == 0]])
        assert time.process_time() - start < 10, seed
        assert code in (0, 1, 2, 3), (seed, err.getvalue())
        assert code != 2 or err.getvalue().startswith("pageproof: error: "), seed
        if out.getvalue().startswith("{"):
            json.loads(out.getvalue(), parse_constant=pytest.fail)
        assert not [one for one in err.getvalue().splitlines() if not one.isprintable()], seed
        codes.add(code)
    assert 2 in codes and len(codes) > 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY >> 10


def test_baseline() -> None:
    text = (GOLDEN / "audit/broken.json").read_text()
    for seed in range(CASES):
        with contextlib.suppress(PageproofError):
            parse_baseline(spoiled(text, seed).decode("utf-8", "replace"), "baseline")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": "pageproof/report-1", "schema": "pageproof/audit-1"}', '"schema" is there tw'),
        ("[" * (1 << 20), "nested too deeply"),
        ('{"a":' * (1 << 20), "nested too deeply"),
        ('{"schema": ' + "1" * 5000 + "}", "this is not a report"),
        ('{"schema": NaN}', "NaN is not a JSON number"),
        ('{"schema": Infinity}', "Infinity is not a JSON number"),
        ('{"schema": 1e999}', "1e999 is not a JSON number"),
        ('{"schema": "' + "A" * (1 << 20) + '"}', "this is not a report"),
        ("null", "this is not a report"),
        ("", "this file is empty"),
        ('{"schema": "pageproof/report-999999999999999999"}', "from a newer pageproof"),
        ('{"schema": "pageproof/report-' + "9" * 5000 + '"}', "this is not a report of pageproof"),
    ],
)
def test_a_text(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(PageproofError) as caught:
        read_report(path)
    assert message in caught.value.what
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "data", [b"\xff\xfe{}", b'{"schema": "\xc3\x28"}', b"\x80", b"\x1f\x8b\x08"]
)
def test_no_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(data)
    with pytest.raises(PageproofError, match="binary data"):
        read_report(path)


def test_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PageproofError, match="more than 64 MiB"):
        read_report(path)


def test_a_device() -> None:
    with pytest.raises(PageproofError, match="more than 64 MiB"):
        read_report(Path("/dev/zero"))

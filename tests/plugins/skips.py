# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin: with CI=true a skip fails, unless tests/allowed-skips.txt allows its reason.

A skipped test proves nothing and is easily overlooked. Without CI=true a skip stays a skip.
Expected failures (xfail) are not skips.

In the conftest: ``pytest_plugins = ["plugins.skips"]``.
"""

import os
from collections.abc import Generator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED_FILE = Path(__file__).resolve().parent.parent / "allowed-skips.txt"
ALLOWED = pytest.StashKey[list[str]]()


def read_allowed(path: Path) -> list[str]:
    """Return the patterns in a list of allowed reasons: one per line; "#" begins a comment."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def is_allowed(reason: str, patterns: list[str]) -> bool:
    """Whether a reason matches a pattern, with the wildcards of a shell (* ? [...])."""
    return any(fnmatchcase(reason, pattern) for pattern in patterns)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the list of allowed reasons."""
    parser.addoption(
        "--allowed-skips",
        metavar="FILE",
        type=Path,
        default=ALLOWED_FILE,
        help="reasons for which a test may be skipped in CI, one pattern per line",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the list in CI."""
    if os.environ.get("CI") == "true":
        config.stash[ALLOWED] = read_allowed(config.getoption("--allowed-skips"))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    """Turn a skip into a failure if CI does not allow its reason."""
    patterns = config.stash.get(ALLOWED, None)
    if patterns is None or not report.skipped or hasattr(report, "wasxfail"):
        return
    # pytest represents a skip as (file, line, "Skipped: reason").
    if not isinstance(report.longrepr, tuple):
        return
    file, line, message = report.longrepr
    reason = str(message).removeprefix("Skipped: ")
    if not is_allowed(reason, patterns):
        report.outcome = "failed"
        report.longrepr = (
            f"CI allows no skip for this reason: {reason}\n"
            f"{file}:{line}: make it run, or add the reason to {ALLOWED_FILE.name}"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Check the report of each test."""
    report = yield
    _refuse_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Check the report of each module, as a whole module may skip itself."""
    report = yield
    _refuse_skip(report, collector.config)
    return report

# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line without a kernel: usage, errors, output files."""

from __future__ import annotations

import argparse
import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from unit.facts import evidence, report

import pageproof
from pageproof import cli
from pageproof.errors import Exit, PageproofError
from pageproof.front import output
from pageproof.render.jsonform import report_to_json

PACKAGE_ROOT = str(Path(pageproof.__file__).parent.parent)
KDUMP_ROOT = str(Path(__file__).resolve().parents[3] / "kdump")


def run(
    *words: str, stdout: Any = subprocess.PIPE, PYTHONPATH: str = PACKAGE_ROOT, **how: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pageproof", *words],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
        check=False,
        **how,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--qemu", "/nonexistent/qmp", "verify"], "there is no such socket"),
        (["-c", "/nonexistent/vmcore", "verify"], "there is no such dump"),
        (["-c", "a", "--qemu", "b", "verify"], "not allowed with argument"),
        (["verify", "--format", "yaml"], "invalid choice: 'yaml'"),
        (["verify", "--pid", "zero"], "'zero' is not a process ID"),
        (["verify", "--pid", "0"], "'0' is not a process ID"),
        (["verify", "--user", "7f0000000000"], "add --pid PID"),
        (["verify", "--pid", "1", "--kernel", "ffff888000000000"], "--kernel goes with --user"),
        (["verify", "--pid", "1", "--length", "4096"], "--length goes with --user"),
        (["verify", "--pid", "1", "--user", "1000", "--length", "0"], "is not a number of bytes"),
        (["verify", "--pages", "[]"], "--pages goes with --user or --device"),
        (["verify", "--device", "/dev/a", "--kernel", "0", "--pages", "[]"], "not allowed with"),
        (["verify", "--device", "/dev/a", "--pid", "1", "--user", "1000"], "--device narrows"),
        (["verify", "--device", "/dev/a", "--kind", "shmem", "--pages", "[]"], "--kind takes the"),
        (["verify", "--expect", "read-only"], "--expect goes with --device"),
        (
            ["verify", "--device", "/dev/a", "--expect", "red-only"],
            "unknown expectation 'red-only'",
        ),
        (["walk"], "required: ADDRESS|SYMBOL"),
        (["walk", "1000", "--user-tables"], "add --pid PID"),
        (["walk", "1000", "--format", "junit"], "invalid choice: 'junit'"),
        (["walk", "1000", "--pid", "-1"], "'-1' is not a process ID"),
        (["maps"], "required: --pid"),
        (["maps", "--pid", "x"], "'x' is not a process ID"),
        (["whatis"], "required: ADDRESS|SYMBOL"),
        (["whatis", "runqueues", "--cpu", "-1"], "'-1' is not a CPU"),
        (["whatis", "0", "--pid", "0"], "'0' is not a process ID"),
        (["frobnicate"], "invalid choice"),
        (["--no-such-option"], "pageproof"),
    ],
)
def test_errors_are_one_line_and_exit_2(words: list[str], message: str) -> None:
    got = run(*words)
    assert got.returncode == Exit.USAGE
    assert got.stdout == ""
    assert got.stderr.startswith("pageproof: error: ")
    assert got.stderr.count("\n") == 1
    assert message in got.stderr


def test_without_a_command_it_helps_and_fails() -> None:
    got = run()
    assert got.returncode == Exit.USAGE
    assert "COMMAND" in got.stderr


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"]])
def test_help_tells_the_exit_codes(words: list[str]) -> None:
    got = run(*words)
    assert got.returncode == 0
    for code in ("  0  ", "  1  ", "  2  ", "  3  "):
        assert code in got.stdout


@pytest.mark.parametrize("command", ["walk", "maps", "whatis"])
def test_help_of_a_command_that_shows(command: str) -> None:
    got = run(command, "--help")
    assert got.returncode == 0
    for word in ("  0  ", "  2  ", "  3  ", "--pid", "--drgn", "--format {text,json", "-o FILE"):
        assert word in got.stdout


def test_version() -> None:
    assert run("--version").stdout == f"pageproof {pageproof.__version__}\n"


def test_the_lab_is_imported_only_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "pageproof_lab").mkdir()
    (tmp_path / "pageproof_lab" / "__init__.py").write_text("")
    (tmp_path / "pageproof_lab" / "cli.py").write_text(
        "def add_commands(parser):\n"
        "    parser.add_argument('word')\n"
        "    parser.set_defaults(run=lambda args: print(args.word) or 5)\n"
    )
    path = f"{tmp_path}{os.pathsep}{PACKAGE_ROOT}"
    got = run("lab", "up", PYTHONPATH=path)
    assert (got.returncode, got.stdout) == (5, "up\n")


def test_a_lab_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pageproof_lab.py").write_text("raise ImportError('broken')\n")
    got = run("lab", "up", PYTHONPATH=f"{tmp_path}{os.pathsep}{PACKAGE_ROOT}")
    assert got.returncode == Exit.USAGE
    assert "the lab is not installed: broken" in got.stderr


def test_kdump_is_a_package_of_its_own(tmp_path: Path) -> None:
    """Its commands are loaded when they are used; without it the other commands work."""
    got = run("kdump", "check", PYTHONPATH=PACKAGE_ROOT)
    assert got.returncode == Exit.USAGE
    assert "kdump is not installed: No module named 'pageproof_kdump'" in got.stderr
    assert run("--version", PYTHONPATH=PACKAGE_ROOT).returncode == 0


def test_kdump_needs_no_target() -> None:
    path = f"{KDUMP_ROOT}{os.pathsep}{PACKAGE_ROOT}"
    got = run("-c", "vmcore", "kdump", "verify", "vmcore", PYTHONPATH=path)
    assert "kdump verify reads no target; name the dump after the command" in got.stderr
    got = run("kdump", PYTHONPATH=path)
    assert (got.returncode, "required: COMMAND" in got.stderr) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["lab", "up"], "lab"),
        (["-c", "lab", "verify"], "verify"),
        (["-s", "lab", "--qemu", "q", "lab", "list"], "lab"),
        (["-v", "lab", "list"], "lab"),
        (["walk", "lab"], "walk"),
        ([], None),
    ],
)
def test_the_command_comes_after_the_target(
    words: list[str], command: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("rest", nargs="*")

    monkeypatch.setattr(cli, "_fill_lab", fill)
    assert cli.build_parser().parse_args(words).command == command


def test_an_error_says_what_where_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise PageproofError("it broke", "/dev/x", "mend it")

    assert cli.guarded(fail) == Exit.USAGE
    assert capsys.readouterr().err == "pageproof: error: it broke, /dev/x; mend it\n"


def test_an_error_may_have_an_exit_code_of_its_own() -> None:
    def fail() -> int:
        raise PageproofError("nothing there", exit_code=Exit.UNDECIDED)

    assert cli.guarded(fail) == Exit.UNDECIDED


def test_a_bug_is_one_line_and_exit_70(capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own exit status for an exception is 1, which means DIFFERENT."""

    def fail() -> int:
        raise KeyError("two\nlines")

    assert int(Exit.CRASHED) == 70
    assert cli.guarded(fail) == Exit.CRASHED
    line = capsys.readouterr().err
    assert line.startswith("pageproof: error: this is a bug in pageproof: KeyError: ")
    assert line.count("\n") == 1
    assert "-v" in line
    assert cli.guarded(fail, verbose=True) == Exit.CRASHED
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "in fail" in shown


def test_no_memory_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise MemoryError

    assert cli.guarded(fail) == Exit.USAGE
    assert capsys.readouterr().err == "pageproof: error: not enough memory\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["explain"], ["diff", "--help"]])
def test_a_full_disk_behind_standard_output(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        got = run(*words, stdout=full)
    assert got.returncode == Exit.USAGE
    assert got.stderr.startswith("pageproof: error: cannot write: No space left on device")
    assert got.stderr.count("\n") == 1


def test_a_closed_standard_output() -> None:
    command = [sys.executable, "-m", "pageproof", "explain"]
    got = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert got.returncode == Exit.USAGE
    assert got.stderr == (
        "pageproof: error: cannot write the report: standard output is closed; use -o FILE\n"
    )


def test_a_closed_standard_error() -> None:
    command = [sys.executable, "-m", "pageproof", "explain", "no-such-rule"]
    got = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (got.returncode, got.stdout) == (Exit.USAGE, "")


# Files without an end


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


@pytest.mark.parametrize("words", [["diff", "/dev/zero", "/dev/zero"]])
def test_what_never_ends_is_not_read_to_its_end(words: list[str]) -> None:
    got = run(*words, preexec_fn=limited)
    assert got.returncode == Exit.USAGE, got.stderr
    assert "it has more than 64 MiB" in got.stderr


def test_a_report_may_come_through_a_pipe(tmp_path: Path) -> None:
    text = report_to_json(report(evidence()))
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    assert run("diff", str(path), "/dev/stdin", input=text).returncode == Exit.SOUND


# -o FILE

ONE: Final = report(evidence())


def test_a_report_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    os.umask(0o022)
    output.write_report(ONE, "json", path)
    assert json.loads(path.read_text())["summary"]["same"] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")
    before = path.stat().st_ino
    output.write_report(ONE, "text", path)
    assert path.stat().st_ino != before
    assert "SAME" in path.read_text()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="write the report"):
        output.write_report(ONE, "text", tmp_path / "no" / "r")


def test_standard_output_has_no_colours_if_it_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.write_report(ONE, "text", None)
    assert "\033" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    colored: bool,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.write_report(ONE, "text", None)
    assert ("\033[1;32mSAME" in capsys.readouterr().out) is colored

# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of the benchmark in C, on the host: timed.c with its limits, and mappers.c."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from machine import ROOT

from pageproof_lab import LabError
from pageproof_lab.bench.mappers import parse_line
from pageproof_lab.bench.timed import Limits, OnHost, parse
from pageproof_lab.proc import run

DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("programs")
    run(["make", "--no-print-directory", "-C", ROOT / "lab/bench_programs", f"OUT={out}"])
    return out


def on_host(programs: Path, scratch: Path, seconds: float = 60, mib: int = 1000) -> OnHost:
    return OnHost(programs / "timed", Limits(seconds, mib), scratch)


def test_a_command(programs: Path, tmp_path: Path) -> None:
    host = on_host(programs, tmp_path)
    done = host.run(["sh", "-c", "cat; sleep 0.2; echo why >&2; exit 3"], "given", keep=True)
    assert (done.code, done.ended, done.said, host.output()) == (3, "itself", "why\n", "given")
    assert done.seconds >= 0.2
    assert done.cpu_seconds < done.seconds
    big = host.run([sys.executable, "-c", "b'a' * (200 << 20)"])
    assert 200 < big.peak_mib < 300
    assert host.run(["no-such-program"]).code == 127


def test_limits(programs: Path, tmp_path: Path) -> None:
    late = on_host(programs, tmp_path, seconds=0.3).run(["sleep", "60"])
    assert (late.ended, late.code) == ("deadline", 128 + signal.SIGKILL)
    assert late.seconds < DEADLINE_SECONDS
    grow = "import time; kept = b'a' * (300 << 20); time.sleep(60)"
    big = on_host(programs, tmp_path, mib=100).run([sys.executable, "-c", grow])
    assert (big.ended, big.code) == ("memory", 128 + signal.SIGKILL)
    assert big.seconds < DEADLINE_SECONDS


def test_output_that_cannot_be_parsed() -> None:
    with pytest.raises(LabError, match=r"(?s)unexpected output 'usage'.*said"):
        parse("usage", "said")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_interrupted(programs: Path, tmp_path: Path) -> None:
    """Ctrl-C ends the command too, although it has a process group of its own."""
    pid_file = tmp_path / "pid"

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    main = threading.get_ident()

    def send() -> None:
        while not pid_file.exists() or not pid_file.read_text().endswith("\n"):
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGUSR1)  # else it may not end the wait

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=send, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            on_host(programs, tmp_path).run(["sh", "-c", f"echo $$ >{pid_file}; exec sleep 600"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while _alive(int(pid_file.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_mappers(programs: Path, tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    groups = ["few:2:9:9:pieces", "all:1:2:50", "mixed:1:1:50:scattered"]
    words = [str(programs / "mappers"), str(file), *groups]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not file.exists() or not file.read_text().endswith("ready\n"):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            found = [parse_line(line) for line in file.read_text().splitlines()[:-1]]
            assert [mapper.group for mapper in found] == ["few", "few", "all", "mixed"]
            assert [mapper.ptes for mapper in found] == [3, 3, 100, 50]
            for mapper in found:
                assert mapper.vmas == len(Path(f"/proc/{mapper.pid}/maps").read_text().splitlines())
                assert f"{mapper.address:x}-" in Path(f"/proc/{mapper.pid}/maps").read_text()
                assert mapper.tables_kib >= 4
            assert found[0].vmas >= 9
            # A process that is killed leaves no zombie, so that its memory is gone at once.
            os.kill(found[0].pid, signal.SIGKILL)
            while Path(f"/proc/{found[0].pid}").exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            process.kill()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while any(_alive(mapper.pid) for mapper in found):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("group", ["", "a:1:1", "a:0:1:1", "a:1:1:0", "a:1:1:1:backwards"])
def test_mistakes_of_groups(programs: Path, tmp_path: Path, group: str) -> None:
    done = subprocess.run(
        [programs / "mappers", tmp_path / "mapped", group], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "not NAME:PROCESSES:MAPPINGS:PAGES" in done.stderr

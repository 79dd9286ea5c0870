# SPDX-License-Identifier: GPL-2.0-or-later
"""A mapped file that becomes shorter: a message and exit code 2 in place of SIGBUS."""

import subprocess
import sys
from pathlib import Path

import pytest
from machine import environment

pytest.importorskip("pageproof_pagewalk", reason="the engine is not built")

SHRINK = """
import os, sys
from pathlib import Path
from pageproof.attach.elfmap import map_file
from pageproof.attach.shrinking import exit_if_it_shrinks

path = Path(sys.argv[1])
if len(sys.argv) > 2:
    exit_if_it_shrinks([path], lambda error: f"pageproof: error: {error}\\n")
with path.open("rb") as file:
    mapped = map_file(file)
os.truncate(path, 4096)
print(mapped[8192])
"""


def shrink(path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    path.write_bytes(bytes(1 << 16))
    return subprocess.run(
        [sys.executable, "-c", SHRINK, str(path), *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_message(tmp_path: Path) -> None:
    done = shrink(tmp_path / "vm\x1bcore", "guarded")
    assert done.returncode == 2
    assert "pageproof: error: the dump became shorter while it was read" in done.stderr
    assert f", -c {tmp_path}/vm" in done.stderr
    assert not done.stdout


def test_without_the_handler(tmp_path: Path) -> None:
    """What the handler is for."""
    assert shrink(tmp_path / "vmcore").returncode == -7


def test_another_bus_error(tmp_path: Path) -> None:
    """A signal that a process sends has another code, and ends the process as ever."""
    code = "import os, pageproof_pagewalk as e; e.guard_mappings(b'no', 2); os.kill(os.getpid(), 7)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True)
    assert (done.returncode, done.stderr) == (-7, b"")


def test_many_parts() -> None:
    """The message is cut."""
    code = (
        "from pathlib import Path; from pageproof.attach.shrinking import exit_if_it_shrinks as e;"
        "e([Path('x' * 200)] * 100, str)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_a_message_that_is_too_long() -> None:
    import pageproof_pagewalk as engine

    with pytest.raises(ValueError, match="too long"):
        engine.guard_mappings(bytes(10_000), 2)

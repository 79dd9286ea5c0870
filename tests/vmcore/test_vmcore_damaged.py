# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged dumps and debug info: a message or UNKNOWN; no traceback, no signal, bounded memory.

These need the dumps of the other tests; tests/hostile has damage of all kinds.
"""

import json
import mmap
import shutil
import struct
import sys
from pathlib import Path

import dumpdamage as damage
import pytest
from machine import environment, on_one_kernel, pageproof
from plugins.crashed import VERIFY, Crashed

from pageproof_lab.proc import run


def vmlinux(crashed: Crashed) -> Path:
    return Path(crashed.machine.kernel.vmlinux)


@on_one_kernel
def test_one_bit_of_a_bitmap(crashed: Crashed, tmp_path: Path) -> None:
    """libkdumpfile would silently read a neighbour instead of every later page."""
    into = tmp_path / "vmcore"
    for at in (0.1, 0.5, 0.9):
        shutil.copyfile(crashed.dumps["lzo"], into)
        with into.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            sub_blocks, bitmap_blocks = struct.unpack_from("<iI", data, 432)
            end = (1 + sub_blocks + bitmap_blocks) * damage.PAGE
            (pages,) = struct.unpack_from("<Q", data, damage.PAGE + 96)
            data[end - bitmap_blocks // 2 * damage.PAGE + int(pages * at) // 8] ^= 1
        result = pageproof("-c", into, "walk", "_text")
        assert result.code == 2, result.out
        assert "page descriptors do not match" in result.err


@on_one_kernel
def test_parts_of_a_split_dump(crashed: Crashed, tmp_path: Path) -> None:
    """One of the parts has all data for the kernel's page tables."""
    codes = set()
    for seed in range(6):
        with damage.damaged(crashed.dumps["lzo"], tmp_path / "part", damage.split, seed) as what:
            command = ("-c", str(tmp_path / "part"), *crashed.machine.symbols, "walk", "_text")
            done = damage.ask(command, what, environment())
        assert done.wrong is None, done
        codes.add(done.code)
        assert "were not given" in done.out or done.code == 2, done.out
    assert 2 in codes


@on_one_kernel
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("__pte2cachemode_tbl", "table of memory types is damaged"),
        ("init_mm", None),
        ("modules", None),
    ],
)
def test_a_variable_of_the_kernel(
    crashed: Crashed, tmp_path: Path, name: str, message: str | None
) -> None:
    dump = crashed.dumps["elf"]
    paddr = damage.physical_addresses(dump, vmlinux(crashed))[name]

    def change(data: mmap.mmap, rng: object) -> str:
        offsets = damage.file_offsets(data, paddr)
        assert offsets
        for at in offsets:
            data[at : at + damage.VARIABLES[name]] = b"\xf3" * damage.VARIABLES[name]
        return name

    with damage.damaged(dump, tmp_path / "vmcore", change, 0) as what:
        command = ("-c", str(tmp_path / "vmcore"), *crashed.machine.symbols, *VERIFY)
        done = damage.ask(command, what, environment())
    assert done.wrong is None, done.out
    assert done.code in (2, 3), done.out
    if message:
        assert message in done.out


@on_one_kernel
def test_a_release_that_is_no_text(crashed: Crashed, tmp_path: Path) -> None:
    def change(data: mmap.mmap, rng: object) -> str:
        at = data.find(b"OSRELEASE=") + len("OSRELEASE=")
        data[at] = 0xFF
        return "OSRELEASE"

    with damage.damaged(crashed.dumps["elf"], tmp_path / "vmcore", change, 0) as what:
        command = ("-c", str(tmp_path / "vmcore"), *crashed.machine.symbols, "walk", "_text")
        done = damage.ask(command, what, environment())
    assert done.wrong is None, done.out


@on_one_kernel
def test_damaged_debug_info(crashed: Crashed, tmp_path: Path) -> None:
    """Damaged debug info of the kernel, and a module for another machine."""
    dump = crashed.dumps["lzo"]
    whole = vmlinux(crashed)
    size = whole.stat().st_size
    bad = tmp_path / "vmlinux"
    shutil.copyfile(whole, bad)
    sections = section_offsets(whole)
    for at, length in (
        (sections[".debug_info"], 1 << 20),
        (sections[".debug_abbrev"], 1 << 12),
        (size - 4096, 4096),  # section headers
        (40, 8),
    ):
        with bad.open("r+b") as file:
            file.seek(at)
            old = file.read(length)
            file.seek(at)
            file.write(b"\xa5" * len(old))
        # Hide the lab's directory of debug info, which has an undamaged file.
        env = {**environment(), "XDG_CACHE_HOME": str(tmp_path)}
        done = damage.ask(("-c", str(dump), "-s", str(bad), *VERIFY), f"byte {at}", env)
        assert done.wrong is None, done
        assert done.code in (2, 3), done
        with bad.open("r+b") as file:
            file.seek(at)
            file.write(old)
    bad.unlink()
    module = tmp_path / "umh_shm.ko"
    shutil.copyfile(crashed.machine.built.module, module)
    with module.open("r+b") as file:
        file.seek(18)
        file.write(struct.pack("<H", 183))
    done = damage.ask(
        ("-c", str(dump), "-s", str(whole), "-s", str(module), "verify"), "e_machine", environment()
    )
    assert done.wrong is None, done
    assert done.code in (0, 1, 2, 3), done


def section_offsets(path: Path) -> dict[str, int]:
    listed = run(["readelf", "--section-headers", "--wide", path])
    found = {}
    for line in listed.splitlines():
        words = line.replace("[ ", "[").split()
        if len(words) > 5 and words[1].startswith("."):
            found[words[1]] = int(words[4], 16)
    return found


FORK = """
import json, os, sys
import pageproof

def ask():
    try:
        core, *symbols = sys.argv[1:]
        return str(bool(pageproof.verify(core=core, symbols=symbols, kinds=["umh_shm"])))
    except pageproof.PageproofError as error:
        return error.remedy

said = [ask()]
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(write, ask().encode())
    os._exit(0)
os.close(write)
with open(read) as file:
    said.append(file.read())
os.waitpid(pid, 0)
print(json.dumps(said))
"""


@on_one_kernel
@pytest.mark.parametrize("threads", ["2", "1"])
def test_verify_in_a_fork(crashed: Crashed, threads: str) -> None:
    """drgn's threads do not survive a fork: the child fails at once, unless there were none."""
    words = [str(word) for word in crashed.machine.symbols if word != "-s"]
    command = [sys.executable, "-c", FORK, str(crashed.dumps["lzo"]), *words]
    out = run(command, env={**environment(), "OMP_NUM_THREADS": threads}, timeout_seconds=120)
    first, child = json.loads(out)
    assert first == "True"
    assert child == "True" if threads == "1" else "spawn" in child

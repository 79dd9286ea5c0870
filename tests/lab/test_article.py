# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab article`: what each step shows, against the guest's own procfs and debugfs."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine import Json, environment, pageproof
from qemus import qemus, wait_no_qemu

from pageproof_lab.article.steps import Row, Seen, Step, Transcript
from pageproof_lab.article.text import end_text, step_text, to_json
from pageproof_lab.guest import guest
from pageproof_lab.guest.guest import Guest

NAME = "test-article"
DEADLINE_SECONDS = 600


@dataclass(frozen=True)
class Case:
    """A way to boot. All values of levels, KASLR and PTI occur."""

    kernel: str
    levels: int
    kaslr: bool
    pti: bool

    def __str__(self) -> str:
        return self.kernel

    @property
    def words(self) -> list[str]:
        pti = "on" if self.pti else "off"
        kaslr = [] if self.kaslr else ["--nokaslr"]
        return ["--kernel", self.kernel, "--paging", str(self.levels), "--pti", pti, *kaslr]


CASES = (
    Case("5.10", 4, kaslr=True, pti=True),
    Case("6.1", 5, kaslr=False, pti=False),
    Case("6.12", 4, kaslr=False, pti=True),
    Case("7.2", 5, kaslr=True, pti=False),
)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Use a separate run directory, and end the lab in it afterwards."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield {"XDG_RUNTIME_DIR": str(tmp_path)}
    pageproof("lab", "down", "--name", NAME)


class Shown:
    """The rows of a transcript, by step and name."""

    def __init__(self, document: Json) -> None:
        self.steps = document["steps"]

    def row(self, step: int, what: str) -> Any:
        (row,) = (one for one in self.steps[step - 1]["rows"] if one["what"] == what)
        return row

    def now(self, step: int, what: str) -> str:
        value: str = self.row(step, what)["now"]
        return value

    def number(self, step: int, what: str) -> int:
        return int(self.now(step, what), 16)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_step(case: Case, runtime: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "article.json"
    keep = ["--keep", "--name", NAME]
    ran = pageproof("lab", "article", *case.words, *keep, "--format", "json", "-o", str(output))
    assert ran.code == 0, f"{ran.err}\n{output.read_text() if output.exists() else ''}"
    document = json.loads(output.read_text())
    assert document["ok"]
    assert [step["number"] for step in document["steps"]] == list(range(1, 11))
    assert all(step["ok"] and step["gdb"] is not None for step in document["steps"])
    shown = Shown(document)
    assert shown.now(1, "page tables") == f"{case.levels} levels"
    assert shown.now(1, "KASLR") == ("on" if case.kaslr else "off")
    assert shown.now(1, "page-table isolation") == ("on" if case.pti else "off")
    if not case.kaslr:
        bases = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}  # mm.rst of the kernel
        assert shown.number(1, "direct map from") == bases[case.levels]
    here = guest.attach(NAME)
    check_files(here, shown)
    check_memory(here, shown, case)
    check_accesses(shown, here.check("cat", "/sys/class/misc/umh_shm/helper_pid").strip())
    here.close()
    assert not qemus(runtime)


def check_files(here: Guest, shown: Shown) -> None:
    """Compare the file and the VMA with what procfs says of them."""
    release = here.check("uname", "-r").strip()
    assert shown.now(1, "kernel") == release
    pid = here.check("cat", "/sys/class/misc/umh_shm/helper_pid").strip()
    assert shown.row(4, "called by")["words"] == f"pid {pid}"
    lines = here.check("cat", f"/proc/{pid}/maps").splitlines()
    (line,) = (line for line in lines if line.endswith("/dev/umh_shm"))
    span, rights, _, _, inode, _ = line.split()
    assert shown.now(5, "range").partition(",")[0] == span
    assert rights == "rw-s"
    assert shown.row(4, "inode")["words"] == f"number {inode}"
    mode, major, minor = here.check("stat", "-c", "%f %t %T", "/dev/umh_shm").split()
    assert shown.number(4, "i_mode") == int(mode, 16) == 0x2180
    assert shown.now(4, "device number") == f"{int(major, 16)}:{int(minor, 16)}"
    smaps = here.check("cat", f"/proc/{pid}/smaps").partition(line)[2]
    flags = smaps.partition("VmFlags:")[2].splitlines()[0].split()
    # Documentation/filesystems/proc.rst: PFNMAP, IO, DONTEXPAND, DONTDUMP, DONTCOPY; no MAYEXEC.
    assert {"rd", "wr", "sh", "mr", "mw", "ms", "pf", "io", "de", "dd", "dc"} <= {*flags}
    assert "me" not in flags
    (text,) = re.findall(r"2 hello world$", here.check("dmesg"), re.M)
    assert shown.now(8, "last_reply") == text


def check_memory(here: Guest, shown: Shown, case: Case) -> None:
    """Compare frames and symbols with the module's own list, with kallsyms and with sysfs."""
    (index, pfn), *more = (
        line.split() for line in here.check("cat", "/sys/kernel/debug/umh_shm/pfns").splitlines()
    )
    assert index == "0" and not more
    frame = int(pfn, 16) << 12
    for step, what in (
        (3, "physical, by arithmetic"),
        (3, "physical, by walking"),
        (6, "frame after"),
        (9, "frame, kernel side"),
        (9, "frame, user side"),
    ):
        assert shown.number(step, what) == frame, (step, what)
    text = int(here.check("cat", "/sys/module/umh_shm/sections/.text").strip(), 16)
    assert shown.number(2, "text of the module") <= text <= shown.number(2, "umh_shm_mmap")
    here.check("sh", "-c", "echo 0 > /proc/sys/kernel/kptr_restrict")
    names = here.check("grep", "-wE", "umh_shm_mmap|init_uts_ns", "/proc/kallsyms").splitlines()
    addresses = {line.split()[2]: int(line.split()[0], 16) for line in names}
    assert shown.number(2, "umh_shm_mmap") == addresses["umh_shm_mmap"]
    assert 0 <= shown.number(10, "variable") - addresses["init_uts_ns"] < 64
    cr3s = {shown.now(10, f"CR3 of process {number}") for number in (1, 2)}
    assert len(cr3s) == 2
    whats = {row["what"] for row in shown.steps[9]["rows"]}
    assert ("user half, process 1" in whats) == case.pti


def check_accesses(shown: Shown, helper: str) -> None:
    """Check the accesses that the watchpoints saw, field by field, in their order."""
    seen = shown.steps[6]["seen"]
    assert [
        (one["side"], one["access"], one["field"], one["before"], one["after"])
        for one in seen
        if one["access"] == "write"
    ] == [
        ("kernel", "write", "id", "0", "2"),
        ("kernel", "write", "payload", '""', '"hello"'),
        ("kernel", "write", "pl_hash", '""', '"world"'),
        ("kernel", "write", "state", "IDLE", "POSTED"),
        ("user", "write", "state", "POSTED", "CLAIMED"),
        ("user", "write", "reply", '""', '"2 hello world"'),
        ("user", "write", "state", "CLAIMED", "DONE"),
        ("kernel", "write", "state", "DONE", "IDLE"),
    ]
    reads = [(one["side"], one["field"]) for one in seen if one["access"] == "read"]
    assert reads[:3] == [("user", "id"), ("user", "payload"), ("user", "pl_hash")]
    for one in seen:
        user = one["side"] == "user"
        assert (str(one["pid"]) == helper) == user
        assert one["comm"] == "umh_shm_helper" if user else one["comm"].startswith("kworker/")
        page = shown.now(5, "range").partition("-")[0] if user else shown.now(3, "kernel address")
        assert int(one["address"], 16) & ~0xFFF == int(page, 16)
    first = seen[0]["code"]
    assert first[0].startswith("umh_shm_proto_request (proto.c:")
    assert all(one["code"][0].startswith("serve (") for one in seen if one["side"] == "user")


def test_not_as_expected(runtime: dict[str, str]) -> None:
    """Memory of vmalloc() is not in the direct map, and with map=fault mmap maps no page."""
    words = [f"--parameter={one}" for one in ("backing=vmalloc", "map=fault")]
    ran = pageproof("lab", "article", "--kernel", "6.1", *words)
    assert ran.code == 1, ran.err
    assert ran.out.rstrip().endswith("NOT AS EXPECTED: step 3 and 6 of 10.")
    (arithmetic, frame) = re.findall(r"^   NO (.{24})", ran.out, re.M)
    assert arithmetic.strip() == "physical, by walking"
    assert frame.strip() == "frame after"
    assert max(map(len, ran.out.splitlines())) <= 100
    assert not qemus(runtime)


def test_interrupted(runtime: dict[str, str]) -> None:
    """Ctrl-C while the guest is stopped ends the guest."""
    with subprocess.Popen(
        [sys.executable, "-m", "pageproof", "lab", "article", "--kernel", "6.1"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as ran:
        assert ran.stdout
        try:
            assert any(line.startswith("━━ 3.") for line in ran.stdout)
            ran.send_signal(signal.SIGINT)
            ran.stdout.read()
            assert ran.wait(DEADLINE_SECONDS) == 130
        finally:
            ran.kill()
    assert wait_no_qemu(runtime)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kernel", "5.10", "--paging", "5"], "kernel 5.10 has no 5-level paging"),
        (["-o", "/no/such/directory/file"], "its directory does not exist"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    ran = pageproof("lab", "article", *words)
    assert ran.code == 2
    assert message in ran.err


STEP = Step(
    "A step",
    ("continue",),
    "What happens.",
    (
        Row("good", "0x1", "one", ok=True),
        Row("bad", "0x2", then="0x1", why=("a reason",), ok=False, expected="0x1"),
        Row("fact", "|".join(["WORD"] * 30)),
    ),
    (Seen(0x1000, "user", "write", "id", "0", "2", 3, 7, "\x1b[31m", ("serve (a.c:1)",)),),
)


def test_text() -> None:
    """It fits, escapes names of processes, and marks what is not as expected."""
    text = step_text(3, STEP)
    lines = text.splitlines()
    assert lines[0] == "━━ 3. A step"
    assert max(map(len, lines)) <= 100
    assert f"   ok {'good':24}{'':20}0x1  one" in lines
    assert f"   NO {'bad':24}{'0x1':20}0x2" in lines
    assert any(line.endswith("NOT AS EXPECTED: it should be 0x1") for line in lines)
    assert "\x1b" not in text and "\\x1b[31m (7)" in text
    assert text.count("WORD") == 30


def test_exit_depends_on_every_row() -> None:
    sound = Step("Sound", (), "", (Row("good", "1", ok=True), Row("fact", "2")))
    good = Transcript("6.1", "", (), (sound,))
    bad = Transcript("6.1", "", (), (sound, STEP))
    assert good.ok and not bad.ok and not Transcript("6.1", "", (), ()).ok
    assert end_text(good) == "All 1 steps showed what they should."
    assert end_text(bad) == "NOT AS EXPECTED: step 2 of 2."
    document = json.loads(to_json(bad))
    assert [step["ok"] for step in document["steps"]] == [True, False]
    assert document["steps"][1]["seen"][0]["comm"] == "\x1b[31m"

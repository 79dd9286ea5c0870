# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of a stopped guest's memory give the reports that QMP gives of the same guest."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attached import frozen
from machine import ONE_A_KERNEL, Json, Machine, each_kernel_at_length, pageproof
from unit.attach.images import Part, avml, header

from pageproof.model.kinds import DEVMEM, OWN_KINDS
from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

QUESTIONS = (("verify",), ("regions",), ("audit",))
#: In a guest where other tests have shared everything: without what may be memory of devices and
#: firmware, which an image does not have.
KINDS = sorted(OWN_KINDS - {DEVMEM, "pci", "uio"})
VERIFY = ("verify", *(word for kind in KINDS for word in ("--kind", kind)))
OF_EVERYTHING = (VERIFY, *QUESTIONS[1:])
MIB = 1 << 20
#: Of a record that AVML writes (MAX_BLOCK_SIZE of its image.rs).
RECORD = 16 * MIB
#: What a report has of the target itself, and what is of one run.
OF_A_RUN = {"target", "times", "seconds", "attempts"}


def essence(report: Json) -> Json:
    return {name: value for name, value in report.items() if name not in OF_A_RUN}


def ask(*words: str | Path) -> Json:
    """Return the report on a sound target."""
    result = pageproof(*words, "--format", "json")
    assert result.code == 0, result.out + result.err
    return result.report


def system_ram(machine: Machine) -> list[tuple[int, int]]:
    """Return (start, end) of System RAM, as LiME and AVML find it."""
    lines = machine.guest.check("cat", "/proc/iomem").splitlines()
    found = [re.match(r"([0-9a-f]+)-([0-9a-f]+) : System RAM$", line) for line in lines]
    return [(int(one[1], 16), int(one[2], 16) + 1) for one in found if one]


def lime_records(read: Callable[[int, int], bytes], start: int, end: int) -> Iterator[bytes]:
    """Yield the pieces of a record of LiME."""
    yield header(b"EMiL", 1, start, end - start)
    for at in range(start, end, RECORD):
        yield read(at, min(RECORD, end - at))


def avml_records(read: Callable[[int, int], bytes], start: int, end: int) -> Iterator[bytes]:
    """Yield records of AVML, which leaves out those that are all zeros (copy_if_nonzero())."""
    for at in range(start, end, RECORD):
        part: Part = (at, read(at, min(RECORD, end - at)))
        if any(part[1]):
            yield avml([part])


@each_kernel_at_length
def test_reports_are_equal(loaded: Machine, tmp_path: Path) -> None:
    """Raw, LiME and AVML. LiME and AVML are written as their sources write them."""
    raw, ranges = tmp_path / "raw", system_ram(loaded)
    with frozen(loaded) as control:
        control.call(
            "pmemsave", 300, val=0, size=qemu.Options().memory_mib * MIB, filename=str(raw)
        )
        expected = {}
        for words in OF_EVERYTHING:
            result = loaded.outside(*words, "--format", "json")
            # Other tests have shared memory in this guest that is not all sound.
            assert result.code in (0, 1, 3), result.out + result.err
            expected[words] = result.code, essence(result.report)
    with raw.open("rb") as memory:

        def read(paddr: int, length: int) -> bytes:
            memory.seek(paddr)
            return memory.read(length)

        for form, records in (("lime", lime_records), ("avml", avml_records)):
            with (tmp_path / form).open("wb") as file:
                for start, end in ranges:
                    file.writelines(records(read, start, end))
    for form in ("raw", "lime", "avml"):
        for words in OF_EVERYTHING if form == "raw" else OF_EVERYTHING[::2]:
            result = pageproof("-c", tmp_path / form, *loaded.symbols, *words, "--format", "json")
            target = result.report["target"]
            assert (target["kind"], target["format"], target["live"]) == ("core", form, False)
            assert (result.code, essence(result.report)) == expected[words], (form, words)
        (tmp_path / form).unlink()
    assert json.dumps(expected[VERIFY]).count('"SAME"') > 5


@pytest.mark.parametrize(
    ("memory_mib", "ram"),
    [
        pytest.param(512, (), id="small"),
        # q35 has 2 GiB below the hole.
        pytest.param(
            4096,
            ("0-7fffffff@0", "100000000-17fffffff@80000000"),
            id="hole",
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_memory_file_of_a_guest(tmp_path: Path, memory_mib: int, ram: tuple[str, ...]) -> None:
    """While the guest runs, and while it is stopped; with a hole also a copy."""
    setup = ONE_A_KERNEL[2]
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    file, copy = tmp_path / "ram", tmp_path / "copy"
    options = qemu.Options(memory_mib=memory_mib, cpus=1, memory_file=file)
    image = tuple(word for one in ram for word in ("--ram", one))
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as machine,
    ):
        machine.load()
        running = ask("-c", file, *image, *machine.symbols, "verify", "--kind", "umh_shm")
        assert running["target"]["live"]
        assert "memory changes while it is read" in running["target"]["notes"][1]
        assert [one["verdict"] for one in running["proofs"]] == ["SAME"]
        with frozen(machine):
            if ram:
                subprocess.run(["cp", "--sparse=always", file, copy], check=True)
            for words in QUESTIONS:
                expected = essence(machine.outside(*words, "--format", "json").report)
                for path in (file, copy) if ram else (file,):
                    report = ask("-c", path, *image, *machine.symbols, *words)
                    assert report["target"]["live"] == (path == file)
                    assert essence(report) == expected, words
        symbols = machine.symbols
    if ram:
        wrong = pageproof("-c", copy, *symbols, "verify")
        assert wrong.code == 2
        assert all(f"--ram {one}" in wrong.err for one in ram), wrong.err

# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the bug lab: each kernel has a separate guest, as bugs cannot be undone.

``make test`` runs one kernel from outside. All others are marked ``long`` (``make test-bugs``).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attached import attached
from buglab import DEVICES, GUESTS, KERNEL, REGION_PAGES, Made, Reports
from bugoracle import CHECKS, Kernel
from machine import ONE_A_KERNEL, Json, Machine, Region, Result, Setup, pageproof
from session import ask_inside

from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

#: The kernel that ``make test`` runs.
ALWAYS = "6.12"


def _parameters(marked: bool) -> list[object]:
    return [
        pytest.param(
            setup,
            id=name,
            marks=[pytest.mark.long] if marked or setup.kernel != ALWAYS else [],
        )
        for setup, name in zip(ONE_A_KERNEL, GUESTS, strict=True)
    ]


each_bugged_kernel = pytest.mark.parametrize("bugged", _parameters(False), indirect=True)
#: For the targets that ``make test`` does not run.
each_bugged_kernel_at_length = pytest.mark.parametrize("bugged", _parameters(True), indirect=True)


@dataclass(frozen=True)
class Slot:
    """A slot of umh_shm as a user leaves it.

    Attributes:
        rule: the expected finding; "" for a sound slot.
    """

    rule: str = ""
    state: int = 3
    seq: int = 7
    ack: int = 7
    reply_hash_of: bytes = b"hello"

    def writes(self, page: int) -> str:
        """Words for tests/vm/mapper.c: the fields of module/umh_shm_abi.h."""
        numbers = (self.state, self.seq, 5, self.ack, 0, 5)
        fields = {
            0: (1).to_bytes(4, "little"),
            4: b"hello",
            1028: hashlib.sha256(b"hello").hexdigest().encode(),
            2052: b"".join(number.to_bytes(4, "little") for number in numbers),
            2076: b"hello",
            3100: hashlib.sha256(self.reply_hash_of).hexdigest().encode(),
        }
        return " ".join(f"--write {page} {at} {data.hex()}" for at, data in fields.items())


#: By page of the region. The module's health check uses the first.
SLOTS = {
    1: Slot(),
    2: Slot("slot-state-impossible", state=0xDEADBEEF),
    3: Slot("slot-sequence-back", state=0, seq=3),
    4: Slot("slot-hash-mismatch", reply_hash_of=b"hellO"),
}


@dataclass(frozen=True)
class Bugged:
    """A guest with all bugs in it.

    Attributes:
        machine: the guest.
        cases: (name, whether it is the sound twin) -> case.
        refused: name -> reason why this kernel cannot have the bug.
        own: a page of a process that the module has pinned.
    """

    machine: Machine
    cases: dict[tuple[str, bool], Made]
    refused: dict[str, str]
    own: Json

    def real_bugs(self) -> dict[str, bool]:
        """Return name -> whether the bug is real by the kernel's own data (tests/bugoracle.py)."""
        children = {one.facts["child"] for one in self.cases.values()} - {0}
        maps = {pid: self.machine.guest.check("cat", f"/proc/{pid}/maps") for pid in children}
        log = self.machine.guest.check("dmesg")
        with attached(self.machine) as view:
            kernel = Kernel(view.target.prog, maps, log)
            return {
                name: CHECKS[name](kernel, bug, self.cases[name, True])
                for (name, sound), bug in self.cases.items()
                if not sound
            }


def _verify(device: str) -> tuple[str, ...]:
    words = ("verify", "--device", device, "--kernel", KERNEL)
    expected = [word for one in DEVICES[device] for word in ("--expect", one)]
    return (*words, "--length", str(REGION_PAGES * 4096), *expected)


#: Name of the answer -> words of the command.
_QUESTIONS: dict[str, tuple[str, ...]] = {
    **{device.removeprefix("/dev/"): _verify(device) for device in DEVICES},
    "slots": ("verify", "--kind", "umh_shm"),
}


@pytest.fixture(scope="session")
def bugged(request: pytest.FixtureRequest) -> Iterator[Bugged]:
    """A guest with all bugs, which ends with the guest."""
    setup: Setup = request.param
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(paging=setup.paging, kaslr=setup.kaslr, pti=setup.pti)
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as machine,
    ):
        # Do this first, so that no module is loaded where another one was removed.
        machine.load(Region("pages", "remap", 1 + len(SLOTS)), allow_any=True)
        writes = [word for page, slot in SLOTS.items() for word in slot.writes(page).split()]
        machine.map("--pages", str(1 + len(SLOTS)), *writes)
        machine.load_test_module("shares_bugs")
        guest.check("insmod", "/opt/pageproof/vm/shares_bugs_gone.ko")
        machine.load_test_module("shares_other")
        said = machine.start("shares_bugs")["regions"]
        yield Bugged(
            machine,
            {(one["name"], one["sound"]): Made(one) for one in said if "user_entries" in one},
            {one["name"]: one["refused"] for one in said if "refused" in one},
            next(one for one in said if "own" in one),
        )


@dataclass(frozen=True)
class Results:
    """Reports of verify on a target: of the devices, and of umh_shm's slots."""

    devices: Reports
    slots: Json


def _results(answers: dict[str, Result]) -> Results:
    for result in answers.values():
        assert result.code in (0, 1, 3), result.out + result.err
    reports = {device: answers[device.removeprefix("/dev/")].report for device in DEVICES}
    return Results(Reports(reports), answers["slots"].report)


@pytest.fixture(scope="session")
def outside(bugged: Bugged) -> Results:
    """From outside, over QMP."""
    ask = bugged.machine.outside
    return _results({name: ask(*words, "--format", "json") for name, words in _QUESTIONS.items()})


@pytest.fixture(scope="session")
def inside(bugged: Bugged) -> Results:
    """Inside the guest, over /proc/kcore."""
    return _results(ask_inside(bugged.machine, _QUESTIONS, ["shares_bugs"]))


@pytest.fixture(scope="session")
def in_vmcore(bugged: Bugged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """From the vmcore of a panic, which ends the guest."""
    machine = bugged.machine
    into = tmp_path_factory.mktemp(f"bugs-{machine.setup.kernel}")
    dump = machine.guest.crash(into, ("lzo",))["lzo"]
    target: tuple[str, ...] = ("-c", str(dump), *machine.symbols)
    yield _results(
        {name: pageproof(*target, *words, "--format", "json") for name, words in _QUESTIONS.items()}
    )
    dump.unlink()

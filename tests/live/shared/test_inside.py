# SPDX-License-Identifier: GPL-2.0-or-later
"""Each command inside the guest, through /proc/kcore, compared with the same from outside.

All commands share one drgn (tests/session.py). At the end verify is run from the command line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import jsonschema
import pytest
from auditbugs import end_places, make_places
from machine import (
    Json,
    Machine,
    Region,
    Result,
    each_kernel,
    number,
    other_setups_at_length,
    pages,
    verdicts,
)
from session import ask_inside, ask_outside
from sharing import (
    Everything,
    closed_page_is_proven,
    closed_page_is_walked,
    is_proven,
    verdicts_by_place,
    walk_to_closed,
)

KERNEL_SIDE = "umh_shm_region.kaddr"
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Odd:
    """Pages that are hard to read, and entries that lead nowhere.

    Attributes:
        places: name of what is wrong -> address in vmalloc space.
        secret: a process and its page of memfd_secret(); None if the kernel does not have it.
        pid: the process group that maps it.
    """

    places: dict[str, int]
    secret: tuple[int, int] | None
    pid: int

    def questions(self, pid: str, user: str) -> dict[str, tuple[str, ...]]:
        """Return commands that compare each page with another page."""
        asked: dict[str, tuple[str, ...]] = {
            name: ("verify", "--pid", pid, "--user", user, "--kernel", hex(place))
            for name, place in self.places.items()
        }
        if self.secret is not None:
            own, address = self.secret
            side = ("--kernel", KERNEL_SIDE)
            asked["secret"] = ("verify", "--pid", str(own), "--user", hex(address), *side)
        return asked


def make_odd(machine: Machine) -> Odd:
    places = make_places(
        machine,
        {
            "physmap-apart": 0,
            "frame-nowhere": nowhere(machine),
            "frame-reserved": 1 << 51,
        },
    )
    said = machine.start("shares_secret")
    pages = [(one["pid"], one["address"]) for one in said["regions"]]
    return Odd(places, pages[0] if pages else None, said["pid"])


def end_odd(machine: Machine, odd: Odd) -> None:
    end_places(machine, odd.places)
    machine.end_group(odd.pid)


def nowhere(machine: Machine) -> int:
    """Return a physical address without memory or a device in /proc/iomem."""
    lines = machine.guest.check("cat", "/proc/iomem").splitlines()
    spans = sorted(
        (int(start, 16), int(end, 16))
        for start, end in (one.split()[0].split("-") for one in lines if one[0] != " ")
    )
    gaps = [(after[0] - one[1], one[1] + 1) for one, after in pairwise(spans)]
    length, start = max(gaps)
    assert length > 1 << 30
    return start + length // 2 & -PAGE_BYTES


@dataclass(frozen=True)
class Seen:
    """Results of the commands inside and outside, by name in `questions`."""

    inside: dict[str, Result]
    outside: dict[str, Result]
    frames: list[int]
    helper_pid: int
    everything: Everything
    odd: Odd

    def both(self, name: str, code: int = 0) -> tuple[Json, Json]:
        inside, outside = self.inside[name], self.outside[name]
        assert (inside.code, outside.code) == (code, code), inside.err + outside.err
        kinds = [one.report["target"]["kind"] for one in (inside, outside)]
        assert kinds == ["live", "qemu"]
        return inside.report, outside.report


@pytest.fixture(scope="module")
def seen(machine: Machine, everything: Everything) -> Iterator[Seen]:
    """The guest has a replaced page, an untouched page, and a process with all kinds of VMAs."""
    machine.load(Region("pages", "fault", 4), allow_any=True)
    mapper = machine.map("--pages", "4", "--touch", "0", "2", "--replace", "1")
    spaces = machine.start("spaces.py")
    kernel = machine.outside("walk", KERNEL_SIDE, "--format", "json").report["walk"]["address"]
    user, pid = mapper["address"], str(mapper["pid"])
    odd = make_odd(machine)
    questions = {
        **odd.questions(pid, hex(user)),
        "verify": ("verify", "--kind", "umh_shm"),
        "replaced": (
            *("verify", "--pid", pid, "--user", hex(user + PAGE_BYTES)),
            *("--kernel", hex(number(kernel) + PAGE_BYTES)),
        ),
        "walk-kernel": ("walk", KERNEL_SIDE),
        "walk-user": ("walk", hex(user), "--pid", pid),
        "maps": ("maps", "--pid", str(spaces)),
        "kmap": ("kmap",),
        "alias": ("alias", KERNEL_SIDE),
        "whatis": ("whatis", KERNEL_SIDE),
        "regions": ("regions", "--kind", "umh_shm"),
        "everything": ("verify",),
        "walk-closed": walk_to_closed(everything),
    }
    inside = ask_inside(machine, questions, ["shares_uio"])
    outside = ask_outside(machine, questions)
    helper_pid = int(machine.sysfs("helper_pid"))
    yield Seen(inside, outside, machine.pfns(), helper_pid, everything, odd)
    end_odd(machine, odd)
    machine.end_group(spaces)
    machine.unload()


def essence(report: Json) -> dict[tuple[int, int], tuple[object, ...]]:
    """Return verdict, reason, and address and frame of both sides, by process and page."""
    return {
        key: (
            proof["verdict"],
            proof["reason"],
            *(
                (proof["evidence"][side]["address"], proof["evidence"][side]["pfn"])
                for side in ("kernel_walk", "user_walk")
            ),
        )
        for key, proof in pages(report).items()
    }


@each_kernel
def test_verify(seen: Seen, schema: Json) -> None:
    """Touched pages are SAME, untouched ones UNKNOWN."""
    inside, outside = seen.both("verify", code=3)
    jsonschema.validate(inside, schema)
    assert essence(inside) == essence(outside)
    said = {
        index: (proof["verdict"], proof["reason"])
        for (pid, index), proof in pages(inside).items()
        if pid != seen.helper_pid
    }
    missing = ("UNKNOWN", "not-present")
    assert said == {0: ("SAME", None), 2: ("SAME", None), 3: missing}


@each_kernel
def test_no_another_frame(seen: Seen) -> None:
    inside, outside = seen.both("replaced", code=1)
    assert essence(inside) == essence(outside)
    assert verdicts(inside) == ["DIFFERENT"]


@each_kernel
@pytest.mark.parametrize("name", ["walk-kernel", "walk-user"])
def test_walk(seen: Seen, name: str) -> None:
    inside, outside = seen.both(name)
    assert not inside["disputed"]
    assert number(inside["walk"]["pfn"]) == seen.frames[0]
    assert number(inside["second"]["pfn"]) == seen.frames[0]
    assert inside["walk"]["root"] == outside["walk"]["root"]


@each_kernel
def test_walk_of_a_closed_page(seen: Seen) -> None:
    for report in seen.both("walk-closed"):
        closed_page_is_walked(report)


@each_kernel
def test_a_page_without_direct_map_is_not_read_through_kcore(seen: Seen) -> None:
    """Its vmalloc address is not read, as since 6.4 such a read of /proc/kcore never returns."""
    inside, outside = (proof_of(one)["evidence"] for one in seen.both("physmap-apart", code=1))
    for route in ("kernel-virtual", "physical"):
        assert "direct map" in content(inside)[route]["error"]
        assert content(inside)[route]["sha256"] is None
        assert content(outside)[route]["sha256"] == digest("pageproof apart")


@each_kernel
def test_secret_memory_is_not_made_up(seen: Seen) -> None:
    """memfd_secret(): /proc/kcore returns zeros for it, and QEMU's monitor the page itself."""
    if seen.odd.secret is None:
        assert "secret" not in seen.inside  # Linux 5.10
        return
    inside, outside = (proof_of(one)["evidence"] for one in seen.both("secret", code=1))
    for route in ("user-virtual", "user-physical"):
        assert "direct map" in content(inside)[route]["error"]
        assert content(inside)[route]["sha256"] is None
        assert content(outside)[route]["sha256"] == digest("pageproof secret 0")


@each_kernel
@pytest.mark.parametrize("name", ["frame-nowhere", "frame-reserved"])
def test_an_entry_that_leads_nowhere_is_no_difference(seen: Seen, name: str) -> None:
    for report in seen.both(name, code=3):
        proof = proof_of(report)
        assert (proof["verdict"], proof["reason"]) == ("UNKNOWN", "damaged")
        assert "data-damaged" in {one["id"] for one in proof["findings"]}
        assert {one["severity"] for one in proof["findings"]} <= {"warning", "note"}


def proof_of(report: Json) -> Json:
    (proof,) = report["proofs"]
    found: Json = proof
    return found


def content(evidence: Json) -> dict[str, Json]:
    return {one["route"]: one for one in evidence["content"]}


def digest(text: str) -> str:
    """Return the digest of a page that begins with a text."""
    return sha256(text.encode().ljust(PAGE_BYTES, b"\0")).hexdigest()


@each_kernel
def test_maps(seen: Seen) -> None:
    """Counts of shared pages are not compared: pageproof maps some files too, inside."""
    held = [[(vma["line"], vma["runs"]) for vma in report["vmas"]] for report in seen.both("maps")]
    assert held[0] == held[1]


@each_kernel
def test_kmap(seen: Seen) -> None:
    """The rows are equal; zeros that /proc/kcore may have made up are reported as unknown."""
    inside = seen.inside["kmap"]
    assert inside.code in (0, 3), inside.err
    unknown = any(one["id"] == "undecided" for one in inside.report["findings"])
    assert unknown is (inside.code == 3)
    rows = zip(inside.report["rows"], seen.outside["kmap"].report["rows"], strict=True)
    for mine, other in rows:
        for key in ("region", "start", "last", "placement", "purpose"):
            assert mine[key] == other[key]


@each_kernel
def test_alias(seen: Seen) -> None:
    inside, outside = seen.both("alias")
    assert number(inside["pfn"]) == seen.frames[0]
    users = [
        {(one["process"]["pid"], one["address"]) for one in report["users"]}
        for report in (inside, outside)
    ]
    assert users[0] == users[1]
    assert len(users[0]) == 2


@each_kernel
def test_whatis(seen: Seen) -> None:
    inside, outside = seen.both("whatis")
    assert inside["identity"] == outside["identity"]
    assert number(inside["walk"]["pfn"]) == seen.frames[0]


@each_kernel
def test_regions(seen: Seen) -> None:
    inside, outside = seen.both("regions")
    assert inside["regions"] == outside["regions"]
    assert len(inside["regions"]) == 1


@each_kernel
def test_everything_that_is_shared(seen: Seen) -> None:
    """All finders, including the copies; /proc/kcore and QEMU's monitor give the same."""
    reports = seen.both("everything", code=1)
    for report in reports:
        is_proven(report, seen.everything)
        closed_page_is_proven(report, seen.everything)
    inside, outside = map(verdicts_by_place, reports)
    for place in seen.everything.touched():
        assert inside[place] == outside[place]


@each_kernel
def test_the_engine_in_c_is_there(machine: Machine) -> None:
    """The engine is available inside; the Python walker takes a minute for all tables."""
    python = "PYTHONPATH=/opt/pageproof/lib python3 -c 'import pageproof_pagewalk'"
    machine.guest.check("sh", "-c", python)


@other_setups_at_length
def test_verify_as_a_user_calls_it(loaded: Machine, schema: Json) -> None:
    """Run the command itself, which loads the debug info each time."""
    words = ("verify", "--kind", "umh_shm", "--format", "json")
    inside, outside = loaded.inside(*words), loaded.outside(*words)
    jsonschema.validate(inside.report, schema)
    assert (inside.code, outside.code) == (0, 0), inside.err + outside.err
    assert inside.report["target"]["kind"] == "live"
    assert essence(inside.report) == essence(outside.report)

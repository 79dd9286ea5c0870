# SPDX-License-Identifier: GPL-2.0-or-later
"""The second article, "one mapping to rule them all": a kernel variable from two processes."""

import time

from pageproof.arch.paging import ENTRY_BYTES
from pageproof.find.kernel.code import kernel_code
from pageproof.find.process.mappings import address_space
from pageproof.model import MappingFacts
from pageproof.model.watch import Mode, Place
from pageproof.space.units import PAGE_BYTES
from pageproof_lab import LabError
from pageproof_lab.article.scene import Scene, entries, hexed
from pageproof_lab.article.session import STOP_SECONDS, Stop
from pageproof_lab.article.steps import Rows, Step
from pageproof_lab.guest.channel import BUSY_SECONDS

VARIABLE = "init_uts_ns"
#: The first bytes of ``init_uts_ns.name.sysname``, which uname(2) copies: "Linux".
_WATCHED_BYTES = 8
#: Two of these run at once. They call uname(2) until they are killed.
_PROGRAM = "import os, time\nwhile True:\n os.uname()\n time.sleep(0.02)"


def one_for_all(scene: Scene) -> Step:
    """Watch the variable while two processes enter the kernel, and compare their tables."""
    rows = Rows()
    address = int(scene.prog[VARIABLE].name.sysname.address_of_().value_())
    frame = scene.kernel_walk(address).paddr
    if frame is None:
        raise LabError(f"the kernel's tables lead to no frame from {VARIABLE}")
    text = scene.prog[VARIABLE].name.sysname.string_().decode()
    rows.fact("variable", hexed(address), f'{VARIABLE}.name.sysname, "{text}"')
    rows.fact("frame, kernel's tables", hexed(frame), "from init_mm.pgd")
    pids = _two_processes(scene)
    stops = _first_hits(scene, address, frame, pids)
    spaces = [address_space(scene.prog, scene.paging, pid)[0] for pid in pids]
    _compare(scene, rows, address, frame, spaces, [stops[pid] for pid in pids])
    scene.session.run()
    scene.guest.check("kill", "-KILL", *map(str, pids))
    return rows.step(
        "One mapping to rule them all",
        (f"awatch *(long *)&{VARIABLE}.name.sysname", "continue", "p/x $cr3"),
        "From the second article. Two processes call uname(2), which copies this variable. Each "
        "has its own page tables. Both use the same address in the upper half, and their tables "
        "lead to the same frame through the same entries.",
    )


def _two_processes(scene: Scene) -> list[int]:
    """Start the program twice, and stop the guest. After an error they end with the guest."""
    command = {"path": "python3", "arg": ["-S", "-c", _PROGRAM]}
    agent = scene.guest.agent
    pids = [agent.call("guest-exec", BUSY_SECONDS, **command)["pid"] for _ in range(2)]
    scene.session.halt()
    return pids


def _first_hits(scene: Scene, address: int, frame: int, pids: list[int]) -> dict[int, Stop]:
    """Return the first hit of each process. The guest is stopped."""
    place = Place(0, 0, address, _WATCHED_BYTES, frame, Mode.KERNEL)
    scene.session.watch(place)
    deadline = time.monotonic() + STOP_SECONDS
    found: dict[int, Stop] = {}
    while len(found) < len(pids):
        stop = scene.session.go(deadline, f"a hit of {VARIABLE} by each of two processes")
        if stop.current.pid in pids:
            found.setdefault(stop.current.pid, stop)
    return found


def _compare(
    scene: Scene,
    rows: Rows,
    address: int,
    frame: int,
    spaces: list[MappingFacts],
    stops: list[Stop],
) -> None:
    for number, (space, stop) in enumerate(zip(spaces, stops, strict=True), 1):
        rows.check(
            f"CR3 of process {number}",
            hexed(stop.registers.table),
            hexed(space.kernel_half_root),
            f"mm->pgd of pid {space.pid} ({stop.current.comm})",
        )
        code = kernel_code(scene.prog, stop.registers.ip)
        rows.fact(f"read by process {number} in", code.symbol.partition("+")[0])
    roots = [space.kernel_half_root for space in spaces]
    rows.require(roots[0] != roots[1], "page tables", "two", "two", "the CR3s differ")
    walks = [scene.walker.walk(root, address) for root in roots]
    for number, walk in enumerate(walks, 1):
        rows.check(f"frame, process {number}", hexed(walk.paddr), hexed(frame), entries(walk))
    tables = [[step.table for step in walk.steps[1:]] for walk in walks]
    rows.require(
        tables[0] == tables[1],
        "tables below the top",
        "the same" if tables[0] == tables[1] else "others",
        "the same",
        "both topmost tables have the same entry",
    )
    form = scene.architecture.top_table(scene.paging.levels)
    halves = [_upper_half(scene, root, form.upper, form.set_by_processor) for root in roots]
    differ = sum(one != other for one, other in zip(*halves, strict=True))
    used = sum(map(bool, halves[0]))
    rows.check("upper half", f"{differ} entries differ", "0 entries differ", f"{used} are used")
    if scene.paging.pti:
        for number, space in enumerate(spaces, 1):
            walk = scene.walker.walk(space.root, address)
            rows.check(
                f"user half, process {number}",
                hexed(walk.paddr),
                "none",
                "in user mode the variable is not mapped (page-table isolation)",
            )


def _upper_half(scene: Scene, root: int, upper: range, ignored: int) -> list[int]:
    """Return the entries of the upper half, without the bits that the processor sets."""
    data = scene.target.reader.read_physical(root, PAGE_BYTES)
    return [
        int.from_bytes(data[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES], "little") & ~ignored
        for at in upper
    ]

# SPDX-License-Identifier: GPL-2.0-or-later
"""The watchpoint's hits, the helper's reply, and the proof."""

import json
import time

from pageproof.api import verify
from pageproof.model import Verdict
from pageproof_lab import LabError
from pageproof_lab.article.scene import THEN_PAGE, Scene, entries, hexed
from pageproof_lab.article.session import STOP_SECONDS
from pageproof_lab.article.steps import Rows, Seen, Step
from pageproof_lab.article.touches import Touches
from pageproof_lab.guest.channel import BUSY_SECONDS

REPLY = "2 hello world"
#: The article's three writes, in order, and what they leave.
WRITES = (("id", "0", "2"), ("payload", '""', '"hello"'), ("pl_hash", '""', '"world"'))


def the_accesses(scene: Scene) -> Step:
    """Let the health check run, and show who touches what."""
    touches = scene.touches
    assert touches is not None
    deadline = time.monotonic() + STOP_SECONDS
    missing = ""
    try:
        while not _is_over(touches):
            stop = scene.session.go(deadline, "the end of the health check")
            touches.hit(stop)
    except LabError as error:
        missing = str(error)
    rows = Rows()
    if missing:
        rows.require(False, "health check", "not seen to its end", "seen to its end", missing)
    writes = _writes(touches.seen)
    shown = ", ".join(f"{field} {before} → {after}" for field, before, after in writes)
    wanted = ", ".join(f"{field} {before} → {after}" for field, before, after in WRITES)
    rows.check("kernel writes", shown or "nothing", wanted, then='2, "hello", "world"')
    reads = _reads(touches.seen, scene.helper)
    rows.check(
        "helper reads",
        ", ".join(f"{field} {value}" for field, value in reads.items()) or "nothing",
        ", ".join(f"{field} {after}" for field, _, after in WRITES),
        f"pid {scene.helper}, after the kernel's last write",
    )
    answers = [one for one in touches.seen if one.field == "reply" and one.access == "write"]
    sides = sorted({one.side for one in answers})
    rows.check(
        "reply is written",
        f"{answers[-1].after} by the {' and '.join(sides)} side" if answers else "never",
        f'"{REPLY}" by the user side',
    )
    states = [one.after for one in touches.seen if one.field == "state" and one.access == "write"]
    rows.check("state", " → ".join(states) or "never", "POSTED → CLAIMED → DONE → IDLE")
    rows.fact("before mmap", f"entries 1 to {scene.early}" if scene.early else "none")
    others = sorted({one.pid for one in touches.seen if one.side == "user"} - {scene.helper})
    rows.check("user address, others", " ".join(map(str, others)) or "nobody", "nobody")
    return rows.step(
        "The watchpoint: who touches the page",
        (f"awatch *{THEN_PAGE:#x}", "continue", "backtrace"),
        "The module checks that its helper works: it posts a request, and the helper answers. A "
        "watchpoint belongs to one virtual address, so each field is watched at the kernel's "
        "address and at the helper's; at the latter only the helper's page tables count (CR3). "
        "Accesses to one field that follow each other are one entry.",
        touches.seen,
    )


def _is_over(touches: Touches) -> bool:
    """Return whether the kernel has taken the slot back after an answer."""
    states = [one.after for one in touches.seen if one.field == "state" and one.access == "write"]
    return "DONE" in states and states[-1] == "IDLE"


def _writes(seen: list[Seen]) -> list[tuple[str, str, str]]:
    """Return (field, before, after) of the kernel's writes of the request, in order."""
    found: list[tuple[str, str, str]] = []
    for one in seen:
        if one.side != "kernel" or one.access != "write" or one.field not in _REQUEST:
            continue
        if found and found[-1][0] == one.field:
            found[-1] = (one.field, found[-1][1], one.after)
        else:
            found.append((one.field, one.before, one.after))
    return found


_REQUEST = frozenset(field for field, _, _ in WRITES)


def _reads(seen: list[Seen], helper: int) -> dict[str, str]:
    """Return what the helper first read of each field after the kernel's writes."""
    last = max(
        (
            number
            for number, one in enumerate(seen)
            if one.side == "kernel" and one.access == "write" and one.field in _REQUEST
        ),
        default=len(seen),
    )
    found: dict[str, str] = {}
    for one in seen[last:]:
        if one.side == "user" and one.access == "read" and one.pid == helper:
            found.setdefault(one.field, one.after)
    return {field: found[field] for field, _, _ in WRITES if field in found}


def the_reply(scene: Scene) -> Step:
    """Let the guest run, and show what the module says."""
    rows, guest = Rows(), scene.guest
    scene.session.run()
    code = _end_of_insmod(scene)
    rows.check("insmod", f"exit code {code}", "exit code 0")
    deadline = time.monotonic() + BUSY_SECONDS
    while (state := guest.check("cat", "/sys/class/misc/umh_shm/state").strip()) == "starting":
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    rows.check("state", state, "healthy", "/sys/class/misc/umh_shm/state")
    reply = guest.check("cat", "/sys/class/misc/umh_shm/last_reply").strip()
    rows.check("last_reply", reply, REPLY, "/sys/class/misc/umh_shm/last_reply", then=REPLY)
    log = [line for line in guest.check("dmesg").splitlines() if "umh_shm" in line]
    said = next((line for line in log if line.endswith(REPLY)), log[-1] if log else "nothing")
    rows.require(said.endswith(REPLY), "kernel log", said, f"a line that ends with {REPLY!r}")
    return rows.step(
        "2 hello world",
        ("delete", "continue"),
        "The watchpoints are removed and the guest runs. The helper's answer consists of the three "
        "values; the module writes it to the kernel's log.",
    )


def _end_of_insmod(scene: Scene) -> int:
    """Wait for the end of the insmod that was started before the guest was stopped."""
    agent = scene.guest.agent
    answer = agent.receive(BUSY_SECONDS)
    if "return" not in answer:
        raise LabError(f"the guest agent did not start insmod: {json.dumps(answer)[:200]}")
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        status = agent.call("guest-exec-status", BUSY_SECONDS, pid=answer["return"]["pid"])
        if status["exited"]:
            return int(status.get("exitcode", 128 + status.get("signal", 0)))
        if time.monotonic() > deadline:
            raise LabError(f"insmod does not end within {BUSY_SECONDS} s")
        time.sleep(0.05)


def the_proof(scene: Scene) -> Step:
    """Prove with pageproof that both addresses are one frame."""
    rows = Rows()
    report = verify(qemu=scene.guest.sockets.spare, kinds=("umh_shm",)).report
    counts = f"{report.summary.same} SAME, {report.summary.pages} in all"
    pages = scene.length >> 12
    rows.check("pages", counts, f"{pages} SAME, {pages} in all")
    if report.proofs:
        proof = report.proofs[0]
        evidence = proof.evidence
        rows.check("verdict", proof.verdict.value, Verdict.SAME.value, proof.sentence)
        rows.check("kernel address", hexed(evidence.kernel_address), hexed(scene.page))
        rows.check("user address", hexed(evidence.user_address), hexed(scene.start))
        for side, walk in (("kernel", evidence.kernel_walk), ("user", evidence.user_walk)):
            rows.check(f"frame, {side} side", hexed(walk.paddr), hexed(scene.frame), entries(walk))
    rows.check("errors", str(report.summary.errors), "0")
    return rows.step(
        "The proof",
        (),
        "This is pageproof verify --kind umh_shm, on a connection of its own: it finds the region "
        "and its mapping in the kernel's data and walks both page tables.",
    )

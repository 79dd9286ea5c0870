# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests: sizes, threads, deadlines, death during a request, a helper with invalid answers."""

import os
import signal
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .harness import PAGE_BYTES, Log, Module, Suite, errno_of, in_module, wait_until

REQUESTS = 3
#: Mode of rogue.c, and the expected result of the health check.
ANSWERS = (
    ("correct", "OK"),
    ("wrong-hash", "EBADMSG"),
    ("wrong-text", "EBADMSG"),
    ("longer-text", "EBADMSG"),
    ("huge-length", "EBADMSG"),
    ("length-plus-one", "EBADMSG"),
    ("wrong-ack", "EBADMSG"),
    ("changed-seq", "EBADMSG"),
    ("refusal", "EREMOTEIO"),
    ("odd-status", "EBADMSG"),
    ("fill", "EBADMSG"),
)
NO_ANSWERS = (
    ("odd-state", "ETIMEDOUT"),
    ("silence", "ETIMEDOUT"),
    ("bell-only", "ETIMEDOUT"),
)


def sizes(suite: Suite, module: Module) -> None:
    with module.loaded():
        for size in (1, 2, 63, 64, 65, 1000, 1023, 1024):
            payload = os.urandom(size)
            suite.equal(module.request(payload), payload, f"{size} bytes")
        suite.equal(module.request(bytes(1024)), bytes(1024), "1024 zeros")
        suite.errno("EMSGSIZE", "1025 bytes", module.request, bytes(1025))
        text = b"escaped: \n\x01\\"
        module.request(text)
        suite.equal(module.get("last_reply"), "escaped: \\n\\001\\", "last_reply is escaped")
        for words in ("", "none", "0", "1 0", "1 33", "1 1 23", "1 1 1025", "1000001"):
            suite.errno("EINVAL", f"bench {words!r} refused", module.bench, words)


def _many(module: Module, thread: int, rounds: int) -> int:
    """Return the number of wrong answers; each payload is unique."""
    wrong = 0
    for i in range(rounds):
        payload = struct.pack("<II", thread, i) * (1 + (thread * 31 + i) % 128)
        wrong += module.request(payload) != payload
    return wrong


def threads(suite: Suite, module: Module) -> None:
    """More threads than slots, as many, and fewer; from user space and in the kernel."""
    for pages in (1, 3, 16):
        with module.loaded(length=pages * PAGE_BYTES, timeout_ms=30000):
            with ThreadPoolExecutor(8) as pool:
                wrong = list(pool.map(lambda n: _many(module, n, 50), range(8)))
            suite.equal(wrong, [0] * 8, f"{pages} slots: 8 threads with 50 requests each")
            result = module.bench("100 16 1024").split()
            numbers = dict(zip(result[::2], map(int, result[1::2]), strict=True))
            suite.equal(numbers["round_trips"], 1600, f"{pages} slots: 16 kernel threads")
            suite.check(numbers["per_second"] > 0, f"{pages} slots: measured")


def _seconds(action: Callable[[], object]) -> tuple[str, float]:
    begin = time.monotonic()
    return errno_of(action), time.monotonic() - begin


def deadlines(suite: Suite, module: Module) -> None:
    """A helper that runs but does not answer. With one slot, a lost slot would be noticed."""
    log = Log()
    with module.loaded(timeout_ms=700):
        module.kill(signal.SIGSTOP)
        result, seconds = _seconds(module.health)
        suite.equal(result, "ETIMEDOUT", "health check of a frozen helper")
        suite.check(0.6 <= seconds < 60, "in time", seconds)
        suite.equal(module.get("state"), "unhealthy", "state")
        suite.check(log.has("unhealthy: no valid answer"), "in the log", log.read())
        with ThreadPoolExecutor(4) as pool:
            ends = list(pool.map(lambda _: errno_of(module.request, b"x"), range(4)))
        suite.equal(ends, ["ETIMEDOUT"] * 4, "four requests for one slot")
        module.kill(signal.SIGCONT)
        suite.check(module.healthy(checks_again=True), "healthy after SIGCONT")
        suite.equal(module.get("restarts"), "0", "no restart")
    log.close()


def death_in_the_middle(suite: Suite, module: Module) -> None:
    with module.loaded(timeout_ms=60000, restart_ms=10):
        for turn in range(3):
            module.kill(signal.SIGSTOP)
            with ThreadPoolExecutor(REQUESTS) as pool:
                ends = [pool.submit(errno_of, module.request, b"x") for _ in range(REQUESTS)]
                wait_until(lambda: in_module(os.getpid()) == REQUESTS)
                module.kill(signal.SIGKILL)
                # EPIPE for the one in the slot; the others wait and reach the next helper.
                results = sorted(end.result(120) for end in ends)
            suite.check(
                "EPIPE" in results and set(results) <= {"EPIPE", "OK"}, f"turn {turn}", results
            )
            suite.check(module.healthy(), f"turn {turn}: healthy", module.get("state"))


def _reaped(child: int) -> bool:
    return wait_until(lambda: os.waitpid(child, os.WNOHANG)[0] == child, 30)


def _killed_child(action: Callable[..., object], *words: object) -> int:
    """Return the pid of a child that was killed during `action`."""
    child = os.fork()
    if not child:
        errno_of(action, *words)
        os._exit(1)
    wait_until(lambda: in_module(child) > 0)
    os.kill(child, signal.SIGKILL)
    return child


def killed_requester(suite: Suite, module: Module) -> None:
    """A process that waits for an answer can be killed, and its slot is not lost."""
    with module.loaded(timeout_ms=60000):
        module.kill(signal.SIGSTOP)
        suite.check(_reaped(_killed_child(module.request, b"x")), "dies at once")
        module.kill(signal.SIGCONT)
        suite.errno("OK", "healthy afterwards", module.health)
        # A killed benchmark ends after the current requests, long before its last round.
        module.kill(signal.SIGSTOP)
        child = _killed_child(module.bench, "1000000 8")
        module.kill(signal.SIGCONT)
        suite.check(_reaped(child), "benchmark dies")
        suite.errno("OK", "healthy after the benchmark", module.health)


def rubbish(suite: Suite, module: Module) -> None:
    for timeout_ms, modes in ((60000, ANSWERS), (1500, NO_ANSWERS)):
        with module.loaded(allow_any=1, timeout_ms=timeout_ms):
            for mode, expected in modes:
                module.stop()
                suite.errno("ENOTCONN", f"{mode}: no helper before", module.health)
                with module.program("rogue", mode, 600) as rogue:
                    assert rogue.stdout
                    rogue.stdout.readline()
                    suite.errno(expected, mode, module.health)
                    rogue.kill()
                module.start()
                back = module.healthy(checks_again=True)
                suite.check(back, f"{mode}: real helper afterwards", module.get("state"))


def thief(suite: Suite, module: Module) -> None:
    """A reader that takes the helper's bells: the only slot is freed, though never claimed."""
    with module.loaded(allow_any=1, timeout_ms=500):
        module.kill(signal.SIGSTOP)
        with module.program("rogue", "silence", 600) as rogue:
            assert rogue.stdout
            rogue.stdout.readline()
            suite.errno("ETIMEDOUT", "bell stolen", module.request, b"x")
            rogue.kill()
        module.kill(signal.SIGCONT)
        suite.check(module.healthy(checks_again=True), "slot is not lost")
        suite.equal(module.get("restarts"), "0", "no restart")


def _is_answered(module: Module) -> None:
    payload = os.urandom(1024)
    assert module.request(payload) == payload


def scribbler(suite: Suite, module: Module) -> None:
    """Noise over the whole region and false bells during requests."""
    for pages in (1, 4):
        with module.loaded(allow_any=1, timeout_ms=500, length=pages * PAGE_BYTES, restart_ms=10):
            with module.program("rogue", "scribble", 8) as rogue:
                assert rogue.stdout
                rogue.stdout.readline()
                ends: dict[str, int] = {}
                while rogue.poll() is None:
                    end = errno_of(module.request, b"payload")
                    ends[end] = ends.get(end, 0) + 1
            suite.check(sum(ends.values()) > 2, f"{pages} slots: requests ended", ends)
            allowed = {"OK", "EBADMSG", "ETIMEDOUT", "EREMOTEIO"}
            suite.check(set(ends) <= allowed, f"{pages} slots: each in a documented way", ends)
            module.stop()
            module.start()
            suite.check(module.healthy(checks_again=True), f"{pages} slots: healthy afterwards")
            answered = wait_until(lambda: errno_of(_is_answered, module) == "OK")
            suite.check(answered, f"{pages} slots: request afterwards")

# SPDX-License-Identifier: GPL-2.0-or-later
"""All at once: requests, benchmarks, health checks, deaths, stops, starts, other mappings."""

import contextlib
import mmap
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .harness import DEVICE, PAGE_BYTES, Module, Suite, errno_of, wait_until

SECONDS = 12
#: A helper that dies sends no invalid answer: an answer is complete or missing.
DOCUMENTED = {"OK", "EPIPE", "ENOTCONN", "ETIMEDOUT"}


def _wrong_answer(module: Module) -> None:
    payload = os.urandom(700)
    if module.request(payload) != payload:
        raise OSError("wrong answer")


def _kill(module: Module) -> None:
    time.sleep(0.05)
    if pid := module.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stop_and_start(module: Module) -> None:
    time.sleep(0.4)
    module.stop()
    module.start()


def _map(module: Module) -> None:
    fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        with mmap.mmap(fd, int(module.get("length")), mmap.MAP_SHARED) as region:
            region[PAGE_BYTES - 1 :: PAGE_BYTES]
    finally:
        os.close(fd)


def _repeat(action: Callable[[Module], object], module: Module, end: float) -> Counter[str]:
    ends: Counter[str] = Counter()
    while time.monotonic() < end:
        ends[errno_of(action, module)] += 1
    return ends


def chaos(suite: Suite, module: Module) -> None:
    for backing, how in (("kzalloc", "remap"), ("vmalloc", "fault"), ("pages", "insert")):
        with module.loaded(
            backing=backing,
            map=how,
            length=2 * PAGE_BYTES,
            allow_any=1,
            timeout_ms=400,
            restart_ms=1,
            max_restarts=100000,
        ):
            end = time.monotonic() + SECONDS / 3
            actions: tuple[Callable[[Module], object], ...] = (
                _wrong_answer,
                _wrong_answer,
                _wrong_answer,
                lambda m: m.bench("20 4 200"),
                lambda m: m.health(),
                _kill,
                _stop_and_start,
                _map,
            )
            with ThreadPoolExecutor(len(actions)) as pool:
                futures = [pool.submit(_repeat, action, module, end) for action in actions]
                results = [future.result(300) for future in futures]
            ends = sum(results, Counter[str]())
            suite.check(set(ends) <= DOCUMENTED, f"{how}: each ended in a documented way", ends)
            # On a slow guest each helper may be killed before it answers.
            some = results[0]["OK"] or wait_until(lambda: errno_of(_wrong_answer, module) == "OK")
            suite.check(bool(some), f"{how}: some requests were answered", results[0])
            module.stop()
            suite.equal(module.get("live_mappings"), "0", f"{how}: all unmapped")
            module.start()
            back = module.healthy(checks_again=True)
            suite.check(back, f"{how}: healthy afterwards", module.get("state"))
            answered = wait_until(lambda: errno_of(_wrong_answer, module) == "OK")
            suite.check(answered, f"{how}: request afterwards")

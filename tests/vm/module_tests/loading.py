# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters, every pair of backing and map, loading and unloading in any order."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from .harness import (
    DEBUGFS,
    DEVICE,
    PAGE_BYTES,
    Log,
    Module,
    Suite,
    errno_of,
    left_behind,
    wait_until,
)

MIB = 1 << 20

PAIRS = (
    ("kzalloc", "remap", 1),
    ("kzalloc", "remap", 2),
    ("kzalloc", "fault", 3),
    ("kzalloc", "remap", 4 * MIB // PAGE_BYTES),
    ("pages", "remap", 1),
    ("pages", "remap", 5),
    ("pages", "fault", 4 * MIB // PAGE_BYTES),
    ("pages", "insert", 1),
    ("pages", "insert", 7),
    ("vmalloc", "fault", 1),
    ("vmalloc", "fault", 16 * MIB // PAGE_BYTES),
    ("vmalloc", "insert", 16),
)

#: Parameters, and text that the one line in the log must contain.
REFUSED: tuple[tuple[dict[str, object], str], ...] = (
    ({"length": 0}, "1 to 4194304 bytes"),
    ({"length": 4 * MIB + 1}, "1 to 4194304 bytes"),
    ({"length": 2**64 - 1}, "1 to 4194304 bytes"),
    ({"backing": "pages", "length": 4 * MIB + 1}, "1 to 4194304 bytes"),
    ({"backing": "vmalloc", "map": "fault", "length": 16 * MIB + 1}, "1 to 16777216 bytes"),
    ({"backing": "slab"}, "not one of kzalloc, pages, vmalloc"),
    ({"map": "magic"}, "not one of remap, fault, insert"),
    ({"backing": "vmalloc", "map": "remap"}, "needs contiguous memory"),
    ({"backing": "kzalloc", "map": "insert"}, "refuses slab pages"),
    ({"restart_ms": 0}, "restart_ms=0: not within 1 to 60000"),
    ({"restart_ms": 60001}, "restart_ms=60001: not within 1 to 60000"),
    ({"timeout_ms": 0}, "timeout_ms=0: not within 1 to 60000"),
    ({"timeout_ms": 60001}, "timeout_ms=60001: not within 1 to 60000"),
    ({"length": "many"}, ""),
)


def parameters(suite: Suite, module: Module) -> None:
    for refused, line in REFUSED:
        name = " ".join(f"{key}={value}" for key, value in refused.items())
        log = Log()
        suite.errno("EINVAL", f"{name} refused", module.insert, **refused)
        suite.check(not line or log.has(line), f"{name} explained", log.read())
        suite.equal(left_behind(), [], f"{name} leaves nothing")
        log.close()


def pairs(suite: Suite, module: Module) -> None:
    for backing, how, pages in PAIRS:
        name = f"{backing}/{how}/{pages}"
        length = pages * PAGE_BYTES
        # An odd number of bytes is rounded up.
        with module.loaded(backing=backing, map=how, length=length - 100):
            suite.equal(module.get("state"), "healthy", f"{name} healthy")
            suite.equal(module.get("last_reply"), "2 hello world", f"{name} answer")
            shown = tuple(module.get(a) for a in ("backing", "map", "length", "live_mappings"))
            suite.equal(shown, (backing, how, str(length), "1"), f"{name} shown")
            pfns = [line.split() for line in (DEBUGFS / "pfns").read_text().splitlines()]
            suite.equal([int(n) for n, _ in pfns], list(range(pages)), f"{name} pages numbered")
            numbers = {int(pfn, 16) for _, pfn in pfns}
            suite.check(len(numbers) == pages and min(numbers) > 0, f"{name} PFNs distinct")
            if backing != "vmalloc":
                suite.equal(max(numbers) - min(numbers), pages - 1, f"{name} contiguous")
            payload = name.encode() * 5
            suite.equal(module.request(payload), payload, f"{name} request")


def _stop(module: Module) -> None:
    module.stop()


def _kill_and_stop(module: Module) -> None:
    module.kill()
    module.stop()


def _kill_wait_stop(module: Module) -> None:
    old = module.pid
    module.kill()
    wait_until(lambda: module.pid not in (0, old))
    module.stop()


def _freeze_and_stop(module: Module) -> None:
    module.kill(signal.SIGSTOP)
    module.stop()


def _stop_start_stop(module: Module) -> None:
    module.stop()
    module.start()
    module.stop()


def _stop_twice(module: Module) -> None:
    module.stop()
    module.stop()


def _kill_only(module: Module) -> None:
    """The helper is gone and its restart is far away, so nothing pins the module."""
    _kill_until(module, "restarting")


def _fail(module: Module) -> None:
    _kill_until(module, "failed")


def _kill_until(module: Module, state: str) -> None:
    """Kill and wait, because an exiting process pins the module by its other files."""
    process = Path("/proc", str(module.pid))
    module.kill()
    wait_until(lambda: module.get("state") == state and not process.exists())


def _held_open(module: Module) -> None:
    fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    module.stop()
    assert errno_of(module.remove) == "EAGAIN"
    os.close(fd)


def _debugfs_open(module: Module) -> None:
    fd = os.open(DEBUGFS / "pfns", os.O_RDONLY | os.O_CLOEXEC)
    module.stop()
    assert errno_of(module.remove) == "EAGAIN"
    os.close(fd)


SLOW_RESTART: dict[str, object] = {"restart_ms": 60000}
ORDERS: tuple[tuple[Callable[[Module], None], dict[str, object], bool], ...] = (
    (_stop, {}, True),
    (_stop, {}, False),
    (_kill_and_stop, {}, True),
    (_kill_and_stop, {"backing": "pages", "map": "insert"}, False),
    (_kill_wait_stop, {"restart_ms": 10}, True),
    (_kill_wait_stop, {"restart_ms": 10, "backing": "vmalloc", "map": "fault"}, True),
    (_freeze_and_stop, {}, True),
    (_freeze_and_stop, {"backing": "vmalloc", "map": "insert"}, True),
    (_stop_start_stop, {}, True),
    (_stop_start_stop, {}, False),
    (_stop_twice, {}, True),
    (_kill_only, SLOW_RESTART, True),
    (_kill_only, {**SLOW_RESTART, "backing": "pages", "map": "fault"}, True),
    (_fail, {"max_restarts": 0}, True),
    (_held_open, {}, True),
    (_debugfs_open, {}, True),
)


def _available_kib() -> int:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    raise LookupError("no MemAvailable")


def orders(suite: Suite, module: Module) -> None:
    """Load and unload in each order; `wait`: only after the helper is healthy."""
    for action, given, wait in ORDERS:
        name = (
            f"{action.__name__.strip('_')} {'later' if wait else 'at once'} {given or ''}".strip()
        )
        module.insert(**given)
        if wait:
            suite.check(module.healthy(), f"{name}: healthy", module.get("state"))
            if action is _stop:
                suite.errno("EAGAIN", f"{name}: in use before", module.remove)
        elif not action.__name__.startswith("_stop"):
            wait_until(lambda: module.pid > 0)
        action(module)
        suite.equal(module.removed(), "OK", f"{name}: removed")
        suite.equal(left_behind(), [], f"{name}: nothing left")
        module.unload()


def twenty_times(suite: Suite, module: Module) -> None:
    """Twenty loads of each backing. A leak of the region would lose 80 MiB."""
    for backing, how in (("kzalloc", "remap"), ("pages", "insert"), ("vmalloc", "fault")):
        before = 0
        for turn in range(21):
            module.insert(backing=backing, map=how, length=4 * MIB)
            healthy = module.healthy()
            module.stop()
            removed = module.removed()
            suite.check(healthy and removed == "OK", f"{backing}: load {turn}", removed)
            if turn == 0:  # what the first load allocates for good is not a leak
                before = _available_kib()
        suite.equal(left_behind(), [], f"{backing}: nothing left")
        lost = before - _available_kib()
        suite.check(lost < 40 * 1024, f"{backing}: no memory lost", f"{lost} KiB")
        print(f"# {backing}: {lost} KiB less than before")

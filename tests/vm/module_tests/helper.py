# SPDX-License-Identifier: GPL-2.0-or-later
"""The helper: confinement, signals, restarts, start and stop."""

import os
import signal
import stat
from pathlib import Path

from .harness import DEVICE, HELPER_COMM, Log, Module, Suite, helpers, wait_until

TRIES_TO_LEAVE = 5


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _region_names(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line.split(maxsplit=5)[5] for line in lines if " rw-s " in line]


def confinement(suite: Suite, module: Module) -> None:
    with module.loaded():
        pid = module.pid
        status = _status(pid)
        suite.equal(helpers(), [pid], "one helper, and its pid is shown")
        suite.equal(status["Name"], HELPER_COMM, "name")
        for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            suite.equal(int(status[caps], 16), 0, caps)
        suite.equal(status["NoNewPrivs"], "1", "no new privileges")
        suite.equal(status["Seccomp"], "2", "system calls filtered")
        suite.equal(status["PPid"], "2", "child of kthreadd")
        exe = str(Path(f"/proc/{pid}/exe").readlink())
        suite.check(exe.endswith("(deleted)"), "program is not a file of the system", exe)
        files = sorted(str(f.readlink()) for f in Path(f"/proc/{pid}/fd").iterdir())
        suite.equal(files, [str(DEVICE), "anon_inode:[umh_shm_leash]"], "two files open")
        suite.equal(_region_names(pid), [str(DEVICE)], "maps the device's node")
        mode = DEVICE.stat().st_mode
        suite.check(stat.S_ISCHR(mode) and stat.S_IMODE(mode) == 0o600, "node is 0600", oct(mode))


def signals(suite: Suite, module: Module) -> None:
    with module.loaded():
        pid = module.pid
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGWINCH):
            os.kill(pid, number)
            suite.errno("OK", f"answers after {number.name}", module.health)
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
        suite.errno("OK", "answers after SIGSTOP and SIGCONT", module.health)
        suite.equal((module.pid, module.get("restarts")), (pid, "0"), "still the same")


def killed_20_times(suite: Suite, module: Module) -> None:
    deaths = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, signal.SIGSYS)
    with module.loaded(max_restarts=25, restart_ms=10):
        seen = {module.pid}
        for turn in range(20):
            old = module.pid
            module.kill(deaths[turn % len(deaths)])
            back = module.relaunched(old)
            suite.check(back, f"back after {deaths[turn % len(deaths)].name}", module.get("state"))
            seen.add(module.pid)
            suite.equal(module.get("restarts"), str(turn + 1), f"restart {turn + 1} counted")
        suite.equal(len(seen), 21, "21 processes")
        suite.equal(helpers(), [module.pid], "one at the end")
        suite.equal(module.get("live_mappings"), "1", "one mapping")
        suite.equal(module.request(b"after all"), b"after all", "request")


def limit(suite: Suite, module: Module) -> None:
    log = Log()
    with module.loaded(max_restarts=2, restart_ms=200):
        for _ in range(2):
            module.kill()
            wait_until(lambda: module.get("state") != "healthy")
            suite.check(module.healthy(), "launched again", module.get("state"))
        module.kill()
        suite.check(wait_until(lambda: module.get("state") == "failed"), "then not launched again")
        suite.equal((module.pid, module.get("restarts")), (0, "2"), "no helper, two restarts")
        suite.check(log.has("restart 1 of 2 in 200 ms"), "first delay in the log", log.read())
        suite.check(log.has("restart 2 of 2 in 400 ms"), "doubled delay in the log", log.read())
        suite.check(log.has("not launched again after 2 restarts"), "limit in the log")
        suite.errno("ENOTCONN", "request refused", module.request, b"x")
        suite.errno("ENOTCONN", "health refused", module.health)
        module.start()
        suite.check(module.healthy(), "can be started again", module.get("state"))
    log.close()


def stopping(suite: Suite, module: Module) -> None:
    killed = "did not exit by itself"
    log = Log()
    with module.loaded():
        # It has one second to exit; an emulated guest on a busy host may pause for that long.
        for _ in range(TRIES_TO_LEAVE):
            try_log = Log()
            pid = module.pid
            module.stop()
            if by_itself := not try_log.has(killed):
                break
            module.start()
            module.healthy()
        suite.check(by_itself, "leaves by itself", log.read())
        shown = tuple(module.get(a) for a in ("state", "helper_pid", "live_mappings", "restarts"))
        suite.equal(shown, ("stopped", "0", "0", "0"), "stopped")
        suite.check(not Path(f"/proc/{pid}").exists(), "process is gone")
        suite.errno("ENOTCONN", "request refused", module.request, b"x")
        module.start()
        suite.check(module.healthy(), "started again", module.get("state"))
        suite.errno("EINVAL", "nonsense refused", module.put, "stop", "maybe")
        suite.errno("EINVAL", "health=0 refused", module.put, "health", 0)
        log.close()
        log = Log()
        module.kill(signal.SIGSTOP)
        module.stop()
        suite.equal(helpers(), [], "a frozen one is gone too")
        suite.check(log.has(killed), "it was killed", log.read())
    log.close()


def without_node(suite: Suite, module: Module) -> None:
    """Without the right node in /dev the helper uses the file that the kernel passed."""
    away = DEVICE.with_name("umh_shm.away")
    with module.loaded(restart_ms=10):
        DEVICE.rename(away)
        try:
            for name in ("no node", "node of another device", "a symbolic link", "a plain file"):
                if name == "node of another device":
                    os.mknod(DEVICE, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
                elif name == "a symbolic link":
                    DEVICE.symlink_to(away)
                elif name == "a plain file":
                    DEVICE.write_bytes(b"")
                old = module.pid
                module.kill()
                back = module.relaunched(old)
                suite.check(back, f"{name}: healthy", module.get("state"))
                names = _region_names(module.pid)
                suite.equal(names, ["anon_inode:[umh_shm]"], f"{name}: maps the passed file")
                DEVICE.unlink(missing_ok=True)
        finally:
            away.rename(DEVICE)

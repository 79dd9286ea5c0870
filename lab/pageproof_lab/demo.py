# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab demo`: prove one guest's region from outside, from inside, and from its vmcore."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from pageproof_lab import LabError
from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels
from pageproof_lab.paths import cache_dir, python_path, source_dir

KERNEL = "6.12"
VERIFY = ("verify", "--kind", "umh_shm")


def pageproof(*words: str) -> int:
    """Run this clone's pageproof on the host, on this terminal; return its exit code."""
    env = {**os.environ, "PYTHONPATH": python_path(source_dir())}
    return subprocess.call([sys.executable, "-m", "pageproof", *words], env=env)


def _title(number: int, text: str, words: Sequence[str]) -> None:
    print(f"\n━━ {number}. {text}\n$ pageproof {shlex.join(words)}\n", flush=True)


def demo(series: str, options: qemu.Options, flavour: str = kernels.CLOUD) -> int:
    """Boot, load the module, prove from outside and inside, panic, prove from the vmcore.

    Args:
        series: the kernel to boot.
        options: options of the guest.
        flavour: the kernel's flavour.

    Returns:
        0 if all three proofs report SAME, else 1.

    Raises:
        LabError: the guest did not come up, or the module's helper did not answer.
    """
    kernel = kernels.fetch(series, flavour)
    built = build.build(kernel)
    kept = cache_dir() / "demo"
    kept.mkdir(exist_ok=True)
    results: list[tuple[str, int, float]] = []

    def proof(name: str, code: int, start: float) -> None:
        results.append((name, code, time.monotonic() - start))

    with boot.boot(kernel, options, built=built) as here:
        here.load_module()
        reply = here.check("cat", "/sys/class/misc/umh_shm/last_reply").strip()
        log = [line for line in here.check("dmesg").splitlines() if "umh_shm" in line]
        print("\n".join(["", "the guest's kernel log:", *log, "", f"the helper replied: {reply}"]))
        if reply != "2 hello world":
            raise LabError(f"umh_shm: the helper replied {reply!r}, expected '2 hello world'")

        words = ["--qemu", str(here.sockets.qmp), *VERIFY]
        _title(1, "from outside, through QEMU's monitor", words)
        start = time.monotonic()
        proof("qemu", pageproof(*words), start)

        _title(2, "inside the guest, through /proc/kcore", VERIFY)
        start = time.monotonic()
        ran = here.run("pageproof", *VERIFY, timeout_seconds=120)
        print(ran.out + ran.err, flush=True)
        proof("live", ran.code, start)

        start = time.monotonic()
        vmcore = here.crash(kept, ("lzo",))["lzo"]
        print(
            f"the guest panicked; kexec and makedumpfile left {vmcore}"
            f" ({vmcore.stat().st_size >> 20} MiB) in {time.monotonic() - start:.1f} s"
        )

    words = ["-c", str(vmcore), *VERIFY]
    _title(3, "after its panic, from the vmcore", words)
    start = time.monotonic()
    proof("core", pageproof(*words), start)

    print()
    for name, code, seconds in results:
        print(f"{name:5} {'SAME' if code == 0 else f'exit code {code}':14} {seconds:.1f} s")
    return 0 if all(code == 0 for _, code, _ in results) else 1

# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the kernel: its configuration, reserved memory, and the capture kernel in it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from pageproof.model.kdump import Checked, bad, ok, unknown
from pageproof_kdump.check.facts import SETUP, Facts
from pageproof_kdump.check.settings import LEAST_MIB
from pageproof_kdump.engine import Check, NoFact

_MIB: Final = 1 << 20
#: Options that a kernel needs so that it can be captured, and capture itself.
_NEEDED: Final = ("CRASH_DUMP", "PROC_VMCORE", "RELOCATABLE")
_LOCKDOWN: Final = "/sys/kernel/security/lockdown"
_SECURE_BOOT: Final = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def kernel_config(facts: Facts) -> Checked:
    """Check that the kernel can start a capture kernel, and be one."""
    name = "kernel-config"
    machine = facts.machine
    try:
        path, lines = machine.config
    except NoFact as error:
        if not machine.exists("/sys/kernel/kexec_crash_loaded") and machine.exists("/sys/kernel"):
            return bad(name, "this kernel cannot start a capture kernel", _OTHER_KERNEL)
        return unknown(name, f"{error}; it can start a capture kernel, and may lack /proc/vmcore")
    lacking = [option for option in _NEEDED if f"CONFIG_{option}=y" not in lines]
    ways = [option for option in ("KEXEC", "KEXEC_FILE") if f"CONFIG_{option}=y" in lines]
    if not ways:
        lacking.append("KEXEC_FILE")
    if lacking:
        missing = ", ".join(f"CONFIG_{option}" for option in lacking)
        return bad(name, f"this kernel lacks {missing}", _OTHER_KERNEL, config=path)
    return ok(name, "it can start a capture kernel, and has /proc/vmcore", config=path)


_OTHER_KERNEL: Final = "boot a kernel that is built with them, such as your distribution's"


def reserved(facts: Facts) -> Checked:
    """Check that memory is reserved for a capture kernel."""
    name = "reserved"
    asked = [one for one in facts.machine.parameters if one.startswith("crashkernel=")]
    size = facts.reserved_bytes
    if size:
        return ok(
            name,
            f"{size // _MIB} MiB are reserved for a capture kernel",
            parameters=" ".join(asked),
        )
    if asked:
        return bad(
            name,
            f"{' '.join(asked)} is on the command line, but the kernel reserved nothing",
            "look for crashkernel in dmesg: the value is malformed, or there is no such free range "
            "of memory; crashkernel=128M usually works",
        )
    return bad(
        name,
        "no memory is reserved for a capture kernel",
        f"{SETUP}, or add crashkernel=128M to the kernel's command line, and restart the machine",
    )


def reserved_size(facts: Facts) -> Checked:
    """Check that the reserved memory is large enough for what runs in it."""
    name = "reserved-size"
    size = facts.reserved_bytes // _MIB
    if not size:
        return unknown(name, "nothing is reserved")
    settings = facts.settings
    least = settings.least_mib if settings else LEAST_MIB
    who = settings.name if settings else "the smallest capture environment"
    if size < least:
        return bad(
            name,
            f"{size} MiB are reserved, and {who} needs {least} MiB",
            f"reserve more: crashkernel={least}M, and restart the machine",
        )
    return ok(name, f"{size} MiB are enough for {who}, which needs {least} MiB")


def loaded(facts: Facts) -> Checked:
    """Check that a capture kernel is loaded."""
    name = "loaded"
    if facts.is_loaded:
        return ok(name, "a capture kernel is loaded")
    settings = facts.settings
    remedy = f"run {settings.load} as root" if settings else SETUP
    try:
        if facts.machine.number("/proc/sys/kernel/kexec_load_disabled"):
            remedy = "restart the machine: kernel.kexec_load_disabled=1 cannot be undone"
    except NoFact:
        pass
    return bad(name, "no capture kernel is loaded: after a panic there would be no dump", remedy)


def _is_loaded(facts: Facts) -> bool:
    try:
        return facts.is_loaded
    except NoFact:
        return False


def setup(facts: Facts) -> Checked:
    """Check that a capture kernel is loaded whenever the machine starts."""
    name = "setup"
    settings = facts.settings
    if settings is None:
        if _is_loaded(facts):
            return unknown(
                name,
                "a capture kernel is loaded, but not by kdump-tools nor by pageproof: whether it "
                "saves a dump is not known, and the next start of the machine does not load it",
                SETUP,
            )
        return bad(name, "nothing loads a capture kernel when the machine starts", SETUP)
    if settings.off:
        return bad(name, f"{settings.name} is off: {settings.off}", settings.turn_on)
    return ok(name, f"{settings.name} loads the capture kernel when the machine starts")


def capture_kernel(facts: Facts) -> Checked:
    """Check the files that are loaded: both are there, and of the running kernel's release."""
    name = "capture-kernel"
    machine, settings = facts.machine, facts.settings
    if settings is None:
        return unknown(name, "nothing is set up that would load one")
    releases = []
    files = {"kernel": settings.kernel, "initramfs": settings.image}
    here = {what: machine.place(path) for what, path in files.items() if path}
    for what, path in files.items():
        if path and not machine.exists(path):
            return bad(
                name,
                f"the capture {what} {path} does not exist",
                f"run {settings.load} as root, which makes it, or {SETUP.removeprefix('run ')}",
            )
        releases.append(_release_in(here.get(what, "")))
    kernel, image = releases
    if kernel and image and kernel != image:
        return bad(
            name,
            f"the capture kernel is of {kernel} and its initramfs of {image}, whose modules do not "
            "fit",
            f"run {settings.load} as root",
            **here,
        )
    if kernel and kernel != machine.release:
        return bad(
            name,
            f"the capture kernel is of {kernel}, and {machine.release} is running",
            f"run {settings.load} as root: the kernel was updated",
            **here,
        )
    return ok(name, f"it is of the running kernel, {machine.release}", **here)


def _release_in(path: str) -> str:
    """Return the release in the name of a kernel or of an initramfs; "" for none."""
    found = re.fullmatch(
        r"(?:vmlinu[xz]|initrd\.img|initramfs)-(.+?)(?:\.img)?", PurePosixPath(path).name
    )
    return found[1] if found else ""


def lockdown(facts: Facts) -> Checked:
    """Check that Secure Boot or lockdown does not refuse the capture kernel."""
    name = "lockdown"
    machine = facts.machine
    mode = "none"
    if machine.exists(_LOCKDOWN):
        found = re.search(r"\[(\w+)\]", machine.text(_LOCKDOWN))
        mode = found[1] if found else mode
    secure = False
    if machine.exists(_SECURE_BOOT):
        secure = machine.data(_SECURE_BOOT)[4:5] == b"\1"  # 4 bytes of attributes come first
    if mode == "none" and not secure:
        return ok(name, "neither Secure Boot nor lockdown is on")
    what = " and ".join(one for one in ("Secure Boot" if secure else "", f"lockdown={mode}") if one)
    if _is_loaded(facts):
        return ok(name, f"{what}, and a capture kernel was accepted")
    return bad(
        name,
        f"{what}: only a signed kernel can be loaded, and only with kexec -s",
        'load it with kexec -s (kdump-tools: KDUMP_KEXEC_ARGS="-s" in /etc/default/kdump-tools)',
    )


def panic(facts: Facts) -> Checked:
    """Check what leads to a panic, and so to a dump."""
    name = "panic"
    machine = facts.machine
    values: dict[str, str] = {}
    for one in ("panic_on_oops", "softlockup_panic", "hardlockup_panic", "hung_task_panic"):
        try:
            values[one] = str(machine.number(f"/proc/sys/kernel/{one}"))
        except NoFact as error:
            if not error.is_absent:
                raise
    if not values:
        raise NoFact("cannot read /proc/sys/kernel")
    if values.get("panic_on_oops", "0") == "0":
        return ok(
            name,
            "a panic is captured; an oops is none, so it leaves no dump",
            "to capture every oops too: sysctl kernel.panic_on_oops=1",
            **values,
        )
    return ok(name, "a panic is captured, and an oops panics", **values)


CHECKS: Final = (
    Check("kernel-config", kernel_config),
    Check("reserved", reserved),
    Check("reserved-size", reserved_size),
    Check("setup", setup),
    Check("loaded", loaded),
    Check("capture-kernel", capture_kernel),
    Check("lockdown", lockdown),
    Check("panic", panic),
)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of a dump's headers: format, whether it is whole, compression, level, kernel."""

from __future__ import annotations

import re
from typing import Final

import drgn

from pageproof.attach.formats import Form
from pageproof.errors import PageproofError
from pageproof.model.kdump import Checked, bad, ok, unknown
from pageproof_kdump.engine import Check
from pageproof_kdump.filter import KEYS, level_words
from pageproof_kdump.verify.facts import DumpFacts

_NAMES: Final = {
    Form.ELF: "an ELF dump",
    Form.KDUMP: "a kdump-compressed dump",
    Form.FLATTENED: "a flattened dump",
}
_ALL_PARTS: Final = "name all files that makedumpfile --split wrote"
_AGAIN: Final = "dump again: the disk was full, or the capture was interrupted"
#: Releases of distributions, and the package that has their debug info.
_PACKAGES: Final = (
    (r".*-(?:cloud-|rt-)?(?:amd64|arm64)", "linux-image-{}-dbg"),
    (r".*-(?:generic|lowlatency|aws|azure|gcp|kvm|oracle)", "linux-image-unsigned-{}-dbgsym"),
    (r".*\.(?:el|fc)\d+.*", "kernel-debuginfo-{}"),
)


def form(facts: DumpFacts) -> Checked:
    """Report the format."""
    head = facts.head
    words = _NAMES[head.inner]
    if head.form is Form.FLATTENED and head.inner is not Form.FLATTENED:
        words += ", flattened"
    return ok("format", f"{words}, {head.size_bytes:,} bytes", path=head.path)


def complete(facts: DumpFacts) -> Checked:
    """Check that the dump was written to its end."""
    name, head = "complete", facts.head
    if head.is_incomplete:
        return bad(name, "makedumpfile marked the dump as incomplete", _AGAIN)
    if facts.damage or head.gap:
        remedy = _ALL_PARTS if head.is_part else "copy it again; else dump again"
        return bad(name, facts.damage or head.gap, remedy)
    if "incomplete" in head.path.name:
        return bad(name, "its name says that it was not written to its end (incomplete)", _AGAIN)
    return ok(name, "all that its headers promise is in the file")


def compression(facts: DumpFacts) -> Checked:
    """Report the compression, and pages that should have been compressed."""
    name, head = "compression", facts.head
    if head.inner is Form.ELF:
        return ok(name, "none: an ELF dump is not compressed")
    if not head.pages:
        return unknown(name, "the page descriptors cannot be read")
    plain, zeros = head.pages.get("", 0), head.pages.get("zeros", 0)
    used = {how: count for how, count in head.pages.items() if how not in ("", "zeros")}
    shown = {how or "none": str(count) for how, count in head.pages.items()}
    if not used:
        return ok(
            name,
            f"none: {plain:,} pages are as they were, and {zeros:,} are zeros",
            "if makedumpfile was told to compress, it was built without that compression: "
            "pageproof kdump check",
            **shown,
        )
    words = ", ".join(f"{count:,} pages {how}" for how, count in sorted(used.items()))
    return ok(name, f"{words}, {plain:,} that do not get smaller, {zeros:,} of zeros", **shown)


def level(facts: DumpFacts) -> Checked:
    """Report what makedumpfile was told to leave out."""
    name = "level"
    if facts.level is None:
        what = "it is not recorded in the dump"
        return ok(name, what, "add --level if you know it")
    where = "" if facts.head.level is not None else ", as you say"
    return ok(name, f"{facts.level}{where}: without {level_words(facts.level)}")


def kernel(facts: DumpFacts) -> Checked:
    """Report release and build ID."""
    name, head = "kernel", facts.head
    release = head.value("OSRELEASE")
    if not release:
        opened = facts.opened
        if isinstance(opened, PageproofError):
            return unknown(name, "its headers do not name the kernel: there is no VMCOREINFO")
        return ok(name, f"Linux {opened.facts.release}; the dump itself does not name it")
    build = head.value("BUILD-ID")  # since 5.9
    words = f"Linux {release}" + (f", build ID {build}" if build else "")
    keys = [key.text for key in KEYS if head.value(key.text)]
    return ok(name, words, release=release, **({"needs": ", ".join(keys)} if keys else {}))


def debug_info(facts: DumpFacts) -> Checked:
    """Report where types and symbols come from, or which package has them."""
    name, opened = "debug-info", facts.opened
    release = facts.head.value("OSRELEASE")
    if isinstance(opened, PageproofError):
        if facts.damage:
            return unknown(name, "the dump could not be opened")
        return unknown(name, opened.what, _package(release) or opened.remedy)
    notes = [note for note in opened.facts.notes if note.startswith("types: ")]
    if notes:
        advice = _package(release)
        return ok(name, notes[0], f"for local variables too, {advice}" if advice else "")
    return ok(name, f"DWARF from {_debug_file(opened.prog)}")


def _debug_file(prog: drgn.Program) -> str:
    try:
        return str(prog.main_module().debug_file_path or "the dump's own kernel")
    except LookupError:
        return "drgn"


def _package(release: str) -> str:
    for pattern, package in _PACKAGES:
        if re.fullmatch(pattern, release):
            return f"install the package {package.format(release)}, or give vmlinux with -s"
    return f"give the vmlinux of Linux {release} with -s" if release else ""


CHECKS: Final = (
    Check("format", form),
    Check("complete", complete),
    Check("compression", compression),
    Check("level", level),
    Check("kernel", kernel),
    Check("debug-info", debug_info),
)

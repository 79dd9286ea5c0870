# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof kdump verify` on dumps of real kernels, sound ones and ones that lost pages.

makedumpfile of the guest's Debian runs on the host: it reads a dump and writes another, with its
own filter. So the dumps that it spoils are those that a user would have got.
"""

import subprocess
from pathlib import Path

import jsonschema
from machine import COMMAND_SECONDS, Json, each_kernel, on_one_kernel, pageproof
from plugins.crashed import Crashed
from unit.schemas import schema

from pageproof_kdump.verify.facts import DumpFacts
from pageproof_kdump.verify.head import read_head
from pageproof_kdump.verify.headers import compression
from pageproof_lab.images.debuginfo import by_build_id
from pageproof_lab.images.roots import guest_root

NEW = "7.2"
#: By default a part has at least 1 GiB, more than the guest.
SPLIT = "--split", "--splitblock-size", "16"


def makedumpfile(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the guest's makedumpfile on this machine."""
    root = guest_root()
    (loader,) = root.glob("lib64/ld-linux-*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    program = root / "usr/bin/makedumpfile"
    command = [loader, "--library-path", libraries, program, "--message-level", "4", *words]
    return subprocess.run(command, capture_output=True, timeout=COMMAND_SECONDS, check=False)


def verify(crashed: Crashed, dump: Path, *words: str | Path) -> Json:
    """Return the report, with the checks by their names."""
    result = pageproof("kdump", "verify", dump, *words, "--format", "json")
    report = result.report
    jsonschema.validate(report, schema("kdump-1.json"))
    assert result.code == report["exit_code"]
    assert report["release"] == crashed.machine.kernel.release
    report["checks"] = {one["id"]: one for one in report["checks"]}
    return report


def not_ok(report: Json) -> set[str]:
    return {name for name, one in report["checks"].items() if one["state"] != "ok"}


@each_kernel
def test_a_sound_dump(crashed: Crashed) -> None:
    report = verify(crashed, crashed.dumps["lzo"])
    assert not_ok(report) == set(), report
    found = {name: one["found"] for name, one in report["checks"].items()}
    level = 23 if crashed.machine.setup.kernel == NEW else 31
    assert found["level"].startswith(f"{level}: ")
    build_id = "".join(by_build_id(crashed.machine.kernel.vmlinux).with_suffix("").parts[1:])
    assert build_id in found["kernel"]  # in VMCOREINFO since 5.9
    assert " lzo" in found["compression"]
    assert str(crashed.machine.kernel.vmlinux) in found["debug-info"]


@each_kernel
def test_a_filter_that_loses_slab_pages(crashed: Crashed, tmp_path: Path) -> None:
    """The trap: with bit 8 makedumpfile 1.7.6 drops slab pages of Linux 7.2, and returns 0.

    The other kernels' dumps are made with this level: test_a_sound_dump.
    """
    if crashed.machine.setup.kernel != NEW:
        assert not read_head(crashed.dumps["lzo"]).value("OFFSET(page.compound_info)")
        return
    dump = tmp_path / "vmcore"
    assert makedumpfile("-l", "-d", "31", crashed.dumps["lzo"], dump).returncode == 0
    report = verify(crashed, dump)
    bad = {name for name, one in report["checks"].items() if one["state"] == "bad"}
    assert bad >= {"tasks", "slab-pages"}
    for name in ("tasks", "slab-pages"):
        remedy = report["checks"][name]["remedy"]
        assert "makedumpfile" in remedy, remedy
        assert "-d 23" in remedy, remedy


@on_one_kernel
def test_other_formats(crashed: Crashed) -> None:
    """An ELF dump does not record its level; a flattened one is read without being unpacked."""
    report = verify(crashed, crashed.dumps["elf"], "--level", "31")
    states = {one["state"] for one in report["checks"].values()}
    # A page of zeros may be missing like a lost one.
    assert states <= {"ok", "unknown"}, report
    assert "as you say" in report["checks"]["level"]["found"]
    report = verify(crashed, crashed.dumps["flat"])
    assert not_ok(report) == set()
    assert "flattened" in report["checks"]["format"]["found"]


@on_one_kernel
def test_a_split_dump(crashed: Crashed, tmp_path: Path) -> None:
    parts = [tmp_path / "part1", tmp_path / "part2"]
    split = makedumpfile(*SPLIT, "-l", "-d", "23", crashed.dumps["lzo"], *parts)
    assert split.returncode == 0
    assert not_ok(verify(crashed, *parts)) == set()
    one = verify(crashed, parts[0])["checks"]["complete"]
    assert one["state"] == "bad"
    assert "--split" in one["remedy"]


@on_one_kernel
def test_dumps_that_are_not_whole(crashed: Crashed, tmp_path: Path) -> None:
    whole = crashed.dumps["lzo"]
    marked = tmp_path / "vmcore"
    full = makedumpfile("-l", "-d", "31", "-L", "4M", whole, marked)
    assert full.returncode != 0
    named = tmp_path / "vmcore.incomplete"
    named.symlink_to(whole)
    cut = tmp_path / "cut"
    with whole.open("rb") as file:
        cut.write_bytes(file.read(whole.stat().st_size // 2))
    for path, words in (
        (marked, "makedumpfile marked the dump as incomplete"),
        (named, "its name says"),
        (cut, "truncated"),
    ):
        report = verify(crashed, path)
        assert report["exit_code"] == 1
        assert report["checks"]["complete"]["state"] == "bad"
        assert words in report["checks"]["complete"]["found"]


@on_one_kernel
def test_a_compression_that_is_not_built_in(crashed: Crashed, tmp_path: Path) -> None:
    """makedumpfile without snappy takes -p, writes the pages as they are, and returns 0."""
    dump = tmp_path / "vmcore"
    assert makedumpfile("-p", "-d", "31", crashed.dumps["lzo"], dump).returncode == 0
    one = compression(DumpFacts(read_head(dump), None, "", (), print))
    assert one.found.startswith("none")
    assert "kdump check" in one.remedy


@on_one_kernel
def test_without_debug_info(crashed: Crashed, tmp_path: Path) -> None:
    """The cache has none, so that types come from the dump's own BTF, or from nowhere (5.10)."""
    result = pageproof(
        "kdump",
        "verify",
        crashed.dumps["lzo"],
        "--format",
        "json",
        env={"XDG_CACHE_HOME": str(tmp_path)},
    )
    one = next(one for one in result.report["checks"] if one["id"] == "debug-info")
    assert f"linux-image-{crashed.machine.kernel.release}-dbg" in one["remedy"]
    assert result.code == (0 if one["state"] == "ok" else 3)

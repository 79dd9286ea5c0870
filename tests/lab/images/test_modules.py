# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules of an initramfs: all that a driver needs, each after what it depends on."""

import lzma
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pageproof_lab.images import kernels, modules
from pageproof_lab.images.initramfs import GUEST_MODULES, copy_modules


def name_of(file: str | Path) -> str:
    """Return a module's name as the kernel spells it."""
    return Path(file).name.partition(".ko")[0].replace("-", "_")


def named_in(index: Path, file: str) -> dict[str, list[str]]:
    """Return module -> modules that it depends on, from depmod's text (depmod(8))."""
    lines = [line.split(":") for line in (index / file).read_text().splitlines()]
    return {name_of(of): [name_of(one) for one in needs.split()] for of, needs in lines}


def softdeps(index: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (module, modules to load before it) for soft dependencies on one alias."""
    aliases = (index / "modules.alias").read_text()
    text = (index / "modules.softdep").read_text()
    for of, alias in re.findall(r"(?m)^softdep (\S+) pre: (\S+)$", text):
        yield of, re.findall(rf"(?m)^alias {re.escape(alias)} (\S+)$", aliases)


#: ext4 wants a crc32c first, which two modules provide; in cloud kernels both are built in.
KERNELS = [
    ("6.1", "cloud-amd64", {"virtio_ring", "virtio", "virtio_pci", "virtio_blk"}),
    ("6.12", "amd64", {"virtio_blk", "jbd2", "mbcache", "crc16", "crc32c_generic", "ext4"}),
    ("6.12", "rt-amd64", {"virtio_blk", "jbd2", "mbcache", "crc16", "crc32c_generic", "ext4"}),
]


@pytest.mark.parametrize(
    ("series", "flavour", "among"), KERNELS, ids=lambda one: one if isinstance(one, str) else ""
)
def test_order_of_loading(series: str, flavour: str, among: set[str]) -> None:
    kernel = kernels.fetch(series, flavour)
    index = modules.module_index(kernel)
    order = [name_of(path) for path in modules.load_order(kernel, GUEST_MODULES)]
    assert among <= set(order)
    assert len(order) == len(set(order))
    needs = named_in(index, "modules.dep")
    for of, soft in softdeps(index):
        needs[of] += soft
    assert "ext4" not in order or "crc32c_generic" in needs["ext4"]
    for number, name in enumerate(order):
        assert set(needs[name]) <= set(order[:number]), name
    built_in = {name_of(line) for line in (index / "modules.builtin").read_text().splitlines()}
    assert built_in
    assert not built_in & set(order)


def test_nothing_is_written_beside_the_modules() -> None:
    """They may be a directory of the user's, or of the package manager."""
    kernel = kernels.fetch("6.12", "amd64")
    modules.module_index(kernel)
    assert not (kernel.modules / "modules.dep").exists()


def test_what_is_not_there_is_left_out() -> None:
    kernel = kernels.fetch("6.1")
    assert modules.load_order(kernel, ["no_such_module"]) == []


def test_files_are_in_order_and_unpacked(tmp_path: Path) -> None:
    kernel = kernels.fetch("6.12", "amd64")
    order = modules.load_order(kernel, ["ext4"])
    copy_modules(kernel, ["ext4"], tmp_path / "modules")
    copies = sorted((tmp_path / "modules").iterdir())
    assert [name_of(path.name[3:]) for path in copies] == [name_of(path) for path in order]
    assert copies[-1].read_bytes() == lzma.decompress(order[-1].read_bytes())

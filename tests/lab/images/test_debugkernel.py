# SPDX-License-Identifier: GPL-2.0-or-later
"""The debug kernel's options, and the messages where it is missing."""

import re
from collections import Counter
from pathlib import Path

import pytest
from machine import pageproof

from pageproof_lab import LabError
from pageproof_lab.images import kernels
from pageproof_lab.images.debugkernel import refused_options


def test_options_that_kconfig_did_not_take() -> None:
    wanted = "# a comment\nCONFIG_KASAN=y\nCONFIG_PAGE_TABLE_CHECK=y\nCONFIG_LOG_BUF_SHIFT=20\n"
    made = "CONFIG_KASAN=y\n# CONFIG_PAGE_TABLE_CHECK is not set\nCONFIG_LOG_BUF_SHIFT=17\n"
    refused = ["CONFIG_PAGE_TABLE_CHECK=y", "CONFIG_LOG_BUF_SHIFT=20"]
    assert refused_options(wanted, made) == refused
    assert refused_options(wanted, wanted) == []


def test_the_list_of_options(checkout: Path) -> None:
    """Each is there once; those that the tests of the debug kernel need are there."""
    text = (checkout / "lab/debug_kernel/config").read_text()
    names = re.findall(r"^(CONFIG_\w+)=\S+$", text, re.MULTILINE)
    assert len(names) == sum(line.startswith("CONFIG_") for line in text.splitlines())
    assert [name for name, times in Counter(names).items() if times > 1] == []
    needed = "KASAN_VMALLOC DEBUG_KMEMLEAK PROVE_LOCKING PAGE_TABLE_CHECK_ENFORCED PTDUMP_DEBUGFS"
    assert {f"CONFIG_{name}" for name in needed.split()} <= set(names)


def test_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LabError, match="make debug-kernel"):
        kernels.fetch("debug")


def test_it_has_no_flavours(tmp_path: Path) -> None:
    words = ("lab", "up", "--kernel", "debug", "--flavour", "amd64")
    result = pageproof(*words, env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert result.code == 2
    assert "--flavour amd64: the debug kernel has only one" in result.err

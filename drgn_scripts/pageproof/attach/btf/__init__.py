# SPDX-License-Identifier: GPL-2.0-or-later
"""Types from BTF, symbols from kallsyms: what a kernel without debug packages still has."""

from __future__ import annotations

from pageproof.attach.btf.install import use_btf
from pageproof.attach.btf.sources import is_system_map

__all__ = ["is_system_map", "use_btf"]

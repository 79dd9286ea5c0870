# SPDX-License-Identifier: GPL-2.0-or-later
"""Types from BTF, symbols from kallsyms: what a kernel without debug packages still has."""

from __future__ import annotations

from pageproof.attach.btf.install import use_btf

__all__ = ["use_btf"]

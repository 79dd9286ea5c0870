# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of symbols and types: the index in C, or without the engine the one in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pageproof_pagewalk as engine
else:
    try:
        import pageproof_pagewalk as engine
    except ImportError:
        from pageproof.attach.btf import plain as engine

__all__ = ["engine"]

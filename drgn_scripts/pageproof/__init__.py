# SPDX-License-Identifier: GPL-2.0-or-later
"""pageproof: proof that a kernel and a user mapping are the same physical memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pageproof.api import Verification, verify
    from pageproof.errors import PageproofError

__version__: Final = "0.1.0"
__all__ = ["PageproofError", "Verification", "__version__", "verify"]


def __getattr__(name: str) -> Any:
    """What programs call, imported when it is: the command line starts without it."""
    if name == "PageproofError":
        from pageproof.errors import PageproofError

        return PageproofError
    if name in ("Verification", "verify"):
        from pageproof import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

# SPDX-License-Identifier: GPL-2.0-or-later
"""x86_64."""

from __future__ import annotations

from typing import Final

from pageproof.arch.x86_64.architecture import X86

#: The architecture.
X86_64: Final = X86()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Escape characters that a terminal, a CI server or a compiler would obey instead of show.

Process, file, VMA and cache names come from programs that may be hostile, and a saved report may
be written by hand. Names keep their characters in the model and in JSON. Each form of output
escapes its strings here once: text in :mod:`pageproof.render.textform`, JUnit in
:mod:`pageproof.render.junit.suites`, drgn code in its comments, messages in ``cli``.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_ASCII: Final = re.compile("[^\n\x20-\x7e]+")


def printable(text: str) -> str:
    r"""Return the text with each character that is not printable as ``\xNN``, ``\uNNNN``, ``\UN…``.

    These are control characters (C0 with newline and ESC, DEL, C1), bidirectional overrides and
    isolates and other format characters, U+2028 and U+2029, lone surrogates, and characters
    without a glyph. A backslash stays as it is, as in ``/proc/PID/maps``: a name that contains the
    five characters ``\x1b`` looks the same, and JSON distinguishes them.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(ord(one)) for one in text)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable_json(text: str) -> str:
    r"""Return JSON text that is safe to show and decodes to the same value.

    The json module leaves DEL, C1, bidirectional controls and lone surrogates as they are. Outside
    of ASCII there are only strings, so ``\uNNNN`` can replace each of them.
    """
    return _NOT_ASCII.sub(_json_escaped, text)


def _json_escaped(match: re.Match[str]) -> str:
    text = match.group()
    if text.isprintable():
        return text
    units = text.encode("utf-16-be", "surrogatepass")
    if len(units) == 2 * len(text):
        return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

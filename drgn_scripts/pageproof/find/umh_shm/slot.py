# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of a slot, ``struct umh_shm_slot`` (module/umh_shm_abi.h)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import drgn

from pageproof.find.kernel.members import Enumerated
from pageproof.find.words import text_words
from pageproof.model import SlotFacts

#: The type of a slot, and its words that are enumerators.
SLOT: Final = "struct umh_shm_slot"
SLOT_ENUMS: Final = (Enumerated("state", "enum umh_shm_state", "UMH_SHM_"),)
#: States in which the kernel does not write the request. In DONE the helper does not write the
#: answer either.
_AT_REST: Final = ("POSTED", "CLAIMED", "DONE")


class SlotReader:
    """Decodes slots of a target.

    Args:
        prog: the target.
        kind: ``struct umh_shm_slot``, or any struct that begins with a ``struct rztee_kreq req``
            and has numbers after it.
    """

    def __init__(self, prog: drgn.Program, kind: drgn.Type) -> None:
        self._prog = prog
        self._kind = kind

    def facts(self, data: bytes) -> SlotFacts | None:
        """Decode a page that begins with a slot.

        Returns:
            None if the type has no request, or the page is shorter than the type.
        """
        try:
            return self._facts(data)
        except (AttributeError, ValueError, drgn.OutOfBoundsError):
            return None

    def _facts(self, data: bytes) -> SlotFacts:
        slot = drgn.Object.from_bytes_(self._prog, self._kind, data)
        words: list[tuple[str, int]] = []
        texts: dict[str, str] = {}
        state = _state_word(slot)
        for member in self._kind.members or ():
            if member.name is None or member.name == "req":
                continue
            value = slot.member_(member.name)
            if value.type_.kind is drgn.TypeKind.ARRAY:
                texts[member.name] = text_words(value.to_bytes_())
            elif member.name != "state":
                words.append((member.name, int(value.value_())))
        return SlotFacts(
            id=slot.req.id.value_(),
            payload=text_words(slot.req.payload.to_bytes_()),
            pl_hash=text_words(slot.req.pl_hash.to_bytes_()),
            state=state,
            reply=texts.get("reply", ""),
            words=tuple(words),
            broken_hashes=tuple(_broken_hashes(slot, state)),
        )


def slot_reader(prog: drgn.Program) -> SlotReader | None:
    """Return a reader for the module's slots; None if the module has no debug info."""
    try:
        return SlotReader(prog, prog.type(SLOT))
    except LookupError:
        return None


def _broken_hashes(slot: drgn.Object, state: str) -> Iterator[str]:
    """Yield the hash members that do not match their text.

    A hash is checked only in states in which nothing may write its text.
    """
    try:
        echo = slot.req.id.value_() == slot.prog_.constant("UMH_SHM_ID_ECHO").value_()
        texts = (
            ("pl_hash", slot.req.payload, slot.payload_len, slot.req.pl_hash, echo),
            ("reply_hash", slot.reply, slot.reply_len, slot.reply_hash, state == "DONE"),
        )
    except (AttributeError, LookupError):
        return
    for name, text, length, digest, hashed in texts:
        if hashed and state in _AT_REST:
            expected = hashlib.sha256(text.to_bytes_()[: length.value_()]).hexdigest()
            if digest.to_bytes_().rstrip(b"\0") != expected.encode():
                yield name


def _state_word(slot: drgn.Object) -> str:
    try:
        number = slot.state.value_()
    except AttributeError:
        return ""
    try:
        enumerators = slot.prog_.type("enum umh_shm_state").enumerators or ()
    except LookupError:
        enumerators = ()
    for enumerator in enumerators:
        if enumerator.value == number:
            return str(enumerator.name).removeprefix("UMH_SHM_")
    return str(number)

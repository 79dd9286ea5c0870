# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel knows about a frame, and content by several routes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

import drgn
from drgn.helpers.linux.mm import (
    PageCompound,
    PageSlab,
    access_remote_vm,
    compound_head,
    page_flags,
    pfn_to_page,
)

from pageproof.find.frame.flags import flag_names
from pageproof.find.frame.free import FreeLists
from pageproof.find.frame.pagetype import OLD_BUDDY, OLD_OFFLINE, OLD_TYPE_BASE, old_table
from pageproof.find.kernel.image import image_ends
from pageproof.find.kernel.paging import START_KERNEL_MAP
from pageproof.find.process.mappings import mm_object
from pageproof.find.words import text_words
from pageproof.model import (
    MemoryGap,
    PagingFacts,
    Route,
    RouteContent,
    SlotFacts,
    StructPageFacts,
)
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES, PAGE_SHIFT

#: States in which the kernel writes no request; in the last the helper writes no answer either.
_AT_REST: Final = ("POSTED", "CLAIMED", "DONE")

#: ``PAGE_TYPE``'s top byte from 6.12 on (4ffca5a96678) is one of enum pagetype.
_NO_TYPE: Final = 0xFF


def struct_page_facts(
    prog: drgn.Program, pfn: int, lists: FreeLists | None = None
) -> StructPageFacts | None:
    """``struct page`` of a frame; None where there is none, or it is not in the target.

    Args:
        prog: the target.
        pfn: of the frame.
        lists: of free pages; those of this moment if there are none.
    """
    try:
        return _struct_page(prog, pfn, lists or FreeLists(prog))
    except drgn.FaultError:
        return None


def is_plain_ram(prog: drgn.Program, paging: PagingFacts, pfn: int) -> bool:
    """Whether ``/proc/kcore`` gives a frame's own bytes, and never zeros in their place.

    It gives zeros for what is no RAM, and for offline and poisoned pages (``read_kcore_iter()``
    of fs/proc/kcore.c). What is no RAM has no struct page or a reserved one, as has some RAM:
    of that the kernel's image is known.
    """
    page = struct_page_facts(prog, pfn)
    if page is None or page.hwpoison or page.type_words == "offline":
        return False
    return not page.reserved or pfn in _image(prog, paging)


def _image(prog: drgn.Program, paging: PagingFacts) -> range:
    """The frames of the kernel's image."""
    # phys_base is modulo 2**64: KASLR may put the image below its linked place.
    return range(
        *(
            (end - START_KERNEL_MAP + paging.phys_base & ADDRESS_LAST) >> PAGE_SHIFT
            for end in image_ends(prog)
        )
    )


def _struct_page(prog: drgn.Program, pfn: int, lists: FreeLists) -> StructPageFacts:
    page = pfn_to_page(prog, pfn)
    # Type, flags and references of a compound page are its head's: in a tail these words hold
    # other things (struct folio of include/linux/mm_types.h), but for PG_hwpoison.
    head = compound_head(page)
    flags = page_flags(head).value_()
    # At once, as the two counts change together: references first when a mapping comes.
    own = page[0].read_()
    whole = own if head == page else head[0].read_()
    mapcount = own._mapcount.counter.value_()
    refcount = whole._refcount.counter.value_()
    typed, words, buddy = _page_type(prog, head)
    if PageSlab(head):
        words, typed = "slab", True
    if not refcount and head == page and (buddy or not typed):
        # Only the first page of a free block is marked, and none on a CPU's list.
        buddy = lists.block(pfn) is not None
    typed = typed or buddy
    mapping = 0 if typed else whole.mapping.value_()
    names = flag_names(prog, flags, mapping, buddy=buddy)
    if page_flags(page).value_() & _flag(prog, "PG_hwpoison") and "hwpoison" not in names:
        names.append("hwpoison")
    return StructPageFacts(
        page=page.value_(),
        flags=flags,
        flags_words="|".join(names),
        type_words=words,
        refcount=refcount,
        mapcount=None if typed else mapcount + 1,
        head=head.value_(),
        reserved="reserved" in names,
        hwpoison="hwpoison" in names,
        buddy=buddy,
        compound=bool(PageCompound(page)),
        mapping=mapping,
    )


def _flag(prog: drgn.Program, name: str) -> int:
    """A page flag's bit; 0 where the kernel has no such flag."""
    try:
        return 1 << int(prog.constant(name).value_())
    except LookupError:
        return 0


def _page_type(prog: drgn.Program, page: drgn.Object) -> tuple[bool, str, bool]:
    """(is typed, name of the type, is free in the buddy allocator).

    ``page_type`` shares its word with ``_mapcount``. From 6.12 the type is its
    top byte; before, a bit that is clear under PAGE_TYPE_BASE.
    """
    value = page.page_type.value_() & 0xFFFF_FFFF
    try:
        buddy = prog.constant("PGTY_buddy")
    except LookupError:
        typed = value & OLD_TYPE_BASE == OLD_TYPE_BASE and value != 0xFFFF_FFFF
        # A negative _mapcount that is a small number below -1 is no type.
        typed = typed and value & 0x0FFF_0000 == 0x0FFF_0000
        if not typed:
            return False, "", False
        words = ((OLD_BUDDY, "buddy"), (OLD_OFFLINE, "offline"), (old_table(prog), "table"))
        word = next((word for bit, word in words if not value & bit), "typed")
        return True, word, word == "buddy"
    top = value >> 24
    if not buddy.value_() <= top < _NO_TYPE:
        return False, "", False
    for enumerator in buddy.type_.enumerators or ():
        if enumerator.value == top:
            name = enumerator.name.removeprefix("PGTY_").replace("_", " ")
            return True, name, top == buddy.value_()
    return True, f"type {top:#x}", False


def read_user_virtual(
    prog: drgn.Program, mm: int, address: int, fault: Callable[[Exception], MemoryGap]
) -> bytes:
    """One page through a user virtual address, translated by drgn.

    Raises:
        MemoryGap: what ``fault`` makes of drgn's error.
    """
    try:
        return access_remote_vm(mm_object(prog, mm), address, PAGE_BYTES)
    except drgn.FaultError as error:
        raise fault(error) from None


def content_by(route: Route, read: Callable[[], bytes]) -> RouteContent:
    """Digest of what one route gives."""
    try:
        data = read()
    except MemoryGap as gap:
        return RouteContent(route, None, False, f"{gap.outcome.value}: {gap}")
    return RouteContent(route, hashlib.sha256(data).hexdigest(), not any(data))


def slot_type(prog: drgn.Program) -> drgn.Type | None:
    """``struct umh_shm_slot`` from the module's DWARF, None without it."""
    try:
        return prog.type("struct umh_shm_slot")
    except LookupError:
        return None


def slot_facts(prog: drgn.Program, kind: drgn.Type, data: bytes) -> SlotFacts:
    """The typed content of a page that begins with a slot.

    Args:
        prog: the target, for its byte order.
        kind: ``struct umh_shm_slot``, or anything that begins with a ``struct
            rztee_kreq req`` and has numbers after it.
        data: at least ``sizeof(kind)`` bytes.
    """
    slot = drgn.Object.from_bytes_(prog, kind, data)
    words: list[tuple[str, int]] = []
    texts: dict[str, str] = {}
    state = _state_word(prog, slot)
    for member in kind.members or ():
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


def _broken_hashes(slot: drgn.Object, state: str) -> Iterator[str]:
    """Hashes that are not their text's, while nobody may write it (module/umh_shm_abi.h)."""
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


def _state_word(prog: drgn.Program, slot: drgn.Object) -> str:
    try:
        number = slot.state.value_()
    except AttributeError:
        return ""
    try:
        enumerators = prog.type("enum umh_shm_state").enumerators or ()
    except LookupError:
        enumerators = ()
    for enumerator in enumerators:
        if enumerator.value == number:
            return str(enumerator.name).removeprefix("UMH_SHM_")
    return str(number)

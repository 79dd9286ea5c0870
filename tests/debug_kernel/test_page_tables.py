# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's dumps of its page tables, and its check for W+X, against pageproof's sweep."""

import pytest
from attached import attached, frozen
from machine import Machine
from ptdump import Part, Right, difference, joined, parse, steady, without

from pageproof.model import Outcome, Range

KERNEL = "/sys/kernel/debug/page_tables/kernel"
WX = "/sys/kernel/debug/check_wx_pages"
LEAF_BYTES = {1: 1 << 12, 2: 1 << 21, 3: 1 << 30}


def parts_of(ranges: list[Range]) -> list[Part]:
    found = []
    for one in ranges:
        if one.outcome is Outcome.MAPPED and one.shared_with is None:
            assert one.permissions
            right = Right(
                one.permissions.write,
                one.permissions.execute,
                one.permissions.user,
                LEAF_BYTES[one.level],
            )
            found.append(Part(one.start, one.last, right))
    return joined(found)


def test_every_page_of_the_kernels_half(debugged: Machine) -> None:
    """Each page that two dumps of the kernel agree on, by rights and size.

    The guest moves: freed pages leave the physmap (DEBUG_PAGEALLOC). A page that changed twice
    between the dumps is a difference that is gone the next time.
    """
    for _ in range(5):
        before = joined(parse(debugged.guest.check("cat", KERNEL)))
        with frozen(debugged), attached(debugged) as view:
            tree = view.kernel()
            ranges = list(view.engine.ranges(tree.root, tree.first, tree.last))
        after = joined(parse(debugged.guest.check("cat", KERNEL)))
        shared = [(one.start, one.last) for one in ranges if one.shared_with is not None]
        expected = without(steady(before, after), shared)
        # ptdump begins at the kernel's half and leaves out the guard hole.
        expected = [one for one in expected if one[0] >= tree.first]
        wrong = difference(expected, parts_of(ranges))
        if not wrong:
            break
    assert wrong == [], [tuple(map(str, one)) for one in wrong[:10]]
    pages = sum((last - start + 1) // 4096 for start, last, right in expected if right)
    # Most of the direct map, and the shadow of it.
    assert pages > 200_000
    # Behind a shared table is what is behind it where it was seen first.
    assert shared
    assert any(right is None for _, _, right in expected)


def test_a_wrong_page_is_seen(debugged: Machine) -> None:
    """The comparison fails if one page of ours differs."""
    text = debugged.guest.check("cat", KERNEL)
    parts = joined(parse(text))
    expected = steady(parts, parts)
    assert difference(expected, parts) == []
    at = next(n for n, one in enumerate(parts) if one.last - one.start > 1 << 16)
    spoilt = list(parts)
    spoilt[at] = Part(parts[at].start, parts[at].last - 4096, parts[at].right)
    assert len(difference(expected, spoilt)) == 1
    right = parts[at].right._replace(writable=not parts[at].right.writable)
    spoilt[at] = Part(parts[at].start, parts[at].last, right)
    assert difference(expected, spoilt)


def test_shared_tables(debugged: Machine) -> None:
    """ptdump follows KASAN's shared tables: it must map them wherever we report them as shared."""
    dump = joined(parse(debugged.guest.check("cat", KERNEL)))
    with frozen(debugged), attached(debugged) as view:
        tree = view.kernel()
        ranges = list(view.engine.ranges(tree.root, tree.first, tree.last))
    where = {one.start: one for one in ranges}
    kasan = [part for part in dump if not part.right.writable and part.right.leaf_bytes == 4096]
    checked = 0
    for one in ranges:
        if one.shared_with is None:
            continue
        first = where.get(one.shared_with)
        assert first is not None
        covered = any(part.start <= one.start and one.last <= part.last for part in kasan)
        checked += covered
    assert checked > 0


def test_write_execute(debugged: Machine) -> None:
    """The kernel's own check passes, and audit finds none; then a driver makes such a page."""
    assert "passed, no W+X pages found" in debugged.guest.check("dmesg")
    said = debugged.guest.check("cat", WX)
    assert "SUCCESS" in said, said
    clean = debugged.outside("audit", "--format", "json")
    assert clean.code == 0, clean.out + clean.err
    assert clean.report["findings"] == []


def test_pti(debugged: Machine) -> None:
    """With PTI the tables of user mode lack most of the kernel's half."""
    if not debugged.setup.pti:
        pytest.skip("this guest has no page-table isolation")
    user = joined(parse(debugged.guest.check("cat", "/sys/kernel/debug/page_tables/current_user")))
    kernel = joined(parse(debugged.guest.check("cat", KERNEL)))
    half = 1 << 63
    theirs = sum(part.last - part.start + 1 for part in user if part.start >= half)
    assert 0 < theirs < sum(part.last - part.start + 1 for part in kernel) / 100

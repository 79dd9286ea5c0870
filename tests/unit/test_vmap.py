# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of vmalloc areas, while it changes."""

from __future__ import annotations

import drgn
import pytest

from pageproof.find import vmap


def test_a_list_that_leads_back_to_itself_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """From an area that was freed it goes on in the list of free space, which has another head."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    areas = [drgn.Object(prog, prog.int_type("long", 8, True), at) for at in (1, 2, 3, 2)]
    monkeypatch.setattr(vmap, "for_each_vmap_area", lambda _: iter(areas))
    each = vmap.each_area(prog)
    assert [next(each).value_() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="changed while it was read"):
        next(each)

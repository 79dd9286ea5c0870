# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of finders."""

from pageproof.find.shared import FINDERS
from pageproof.model import kinds


def test_kinds_are_distinct() -> None:
    names = [finder.kind for finder in FINDERS]
    assert len(set(names)) == len(names)


def test_rules_know_only_kinds_of_finders() -> None:
    """A rule about a kind that no finder has would never apply, and nothing would show it."""
    constants = {value for name, value in vars(kinds).items() if name.isupper()}
    named = constants - {kinds.OWN_KINDS}
    assert named == {"umh_shm", "vdso", "devmem"}
    assert named <= {finder.kind for finder in FINDERS}


def test_the_command_line_knows_them_without_loading_them() -> None:
    assert {finder.kind for finder in FINDERS} == kinds.OWN_KINDS

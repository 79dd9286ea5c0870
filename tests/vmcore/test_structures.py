# SPDX-License-Identifier: GPL-2.0-or-later
"""The bulk reader of the engine against drgn's helpers, on dumps."""

from bulkoracle import bulk_of, compare
from machine import each_kernel
from plugins.crashed import Crashed

from pageproof.attach import Wanted, open_target
from pageproof.find.kernel.paging import read_paging
from pageproof.observe.walkers import paging_form

#: makedumpfile leaves out most page caches, but not their trees.
CACHES = 100


@each_kernel
def test_structures_are_drgns(crashed: Crashed) -> None:
    for name in crashed.two_dumps:
        target = open_target(
            Wanted(core=crashed.dumps[name], symbols=(crashed.machine.kernel.vmlinux,)), ()
        )
        paging = read_paging(target.prog)
        bulk = bulk_of(target, paging_form(target, paging), paging)
        speed = compare(bulk, CACHES)
        print(f"{crashed.machine.setup} {name}: {speed}")
        assert (bulk.reads[0] == 0) == (name == "elf")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the VMAs that processes share with the kernel, in plain drgn.

The benchmark compares it with `verify` of all regions, which also judges each page of them, and
with pageproof's own reader of VMAs (bulk_vmas.py). Prints one JSON object; its time is that of the
loop, without the start of drgn.
"""

import json
import time

from drgn import get_default_prog, sizeof
from drgn.helpers.linux.mm import for_each_vma
from drgn.helpers.linux.pid import for_each_task

# Of the kinds of regions in this guest.
OPERATIONS = ("special_mapping_vmops", "umh_shm_vm_ops", "shmem_vm_ops")


def main() -> None:
    prog = get_default_prog()
    wanted = {prog[name].address_ for name in OPERATIONS}
    start = time.perf_counter()
    spaces = {task.mm.value_(): task.mm for task in for_each_task(prog) if task.mm}
    vmas = shared = 0
    for mm in spaces.values():
        for vma in for_each_vma(mm):
            vmas += 1
            shared += vma.vm_ops.value_() in wanted
    result = {
        "seconds": time.perf_counter() - start,
        "vmas": vmas,
        "shared": shared,
        "spaces": len(spaces),
        "vma_bytes": sizeof(prog.type("struct vm_area_struct")),
    }
    print(json.dumps(result))


main()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the VMAs that processes share with the kernel, in plain drgn.

The benchmark compares it with a `verify` of all regions, which also judges each page of them.
"""

from drgn import get_default_prog
from drgn.helpers.linux.mm import for_each_vma
from drgn.helpers.linux.pid import for_each_task

# Of the kinds of regions in this guest.
OPERATIONS = ("special_mapping_vmops", "umh_shm_vm_ops")

prog = get_default_prog()
wanted = {prog[name].address_ for name in OPERATIONS}
spaces = {task.mm.value_(): task.mm for task in for_each_task(prog) if task.mm}
found = [vma for mm in spaces.values() for vma in for_each_vma(mm) if vma.vm_ops.value_() in wanted]
print(f"{len(found)} VMAs in {len(spaces)} address spaces")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare both sides of umh_shm's region by follow_phys, in plain drgn, beside `pageproof verify`.

It compares frames only: no content, no struct page, no reasons.
"""

from drgn import cast, get_default_prog
from drgn.helpers.linux.mm import follow_phys, for_each_vma
from drgn.helpers.linux.pid import for_each_task

prog = get_default_prog()
region = prog["umh_shm_region"]
kernel = region.kaddr.value_()
fops = prog["umh_shm_fops"].address_
init_mm = prog["init_mm"].address_of_()
same = 0
for task in for_each_task(prog):
    if not task.mm:
        continue
    for vma in for_each_vma(task.mm):
        if not vma.vm_file or vma.vm_file.f_op.value_() != fops:
            continue
        start, first = vma.vm_start.value_(), vma.vm_pgoff.value_()
        for page in range((vma.vm_end.value_() - start) // 4096):
            user = follow_phys(task.mm, start + page * 4096)
            mine = follow_phys(init_mm, kernel + (first + page) * 4096)
            same += int(cast("unsigned long", user) == cast("unsigned long", mine))
print(f"{same} pages are the same")

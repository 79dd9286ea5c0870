# SPDX-License-Identifier: GPL-2.0-or-later
"""Types of the kernel's variables. BTF has those of per-CPU variables only, since pahole 1.18.

The table has what pageproof reads, and the helpers of drgn that it calls. A test compares each line
with DWARF, on every kernel of the lab (tests/live/test_btf.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

#: Lengths of arrays: a number; an enumerator, or one and 1; "S.a S.b", the length of a member of
#: ``struct S``, the first that there is. "[]" and "[32n]" are known by the next symbol only; the
#: latter is a multiple of 32. "enum with X" is the unnamed enumeration that has X.
TABLE: Final = """
__cpu_online_mask       struct cpumask
__cpu_possible_mask     struct cpumask
__cpu_present_mask      struct cpumask
__kfence_pool           char *
__per_cpu_offset        unsigned long []
__pgtable_l5_enabled    unsigned int
__pte2cachemode_tbl     uint8_t [8]
address_markers         struct addr_marker [END_OF_SPACE_NR + 1]
boot_cpu_data           struct cpuinfo_x86
boot_params             struct boot_params
btf_modules             struct list_head
bus_kset                struct kset *
class_kset              struct kset *
contig_page_data        struct pglist_data
cpu_tss_rw              struct tss_struct
direct_map_physmem_end  unsigned long
efi_mm                  struct mm_struct
espfix_stack            unsigned long
gate_vma                struct vm_area_struct
hstates                 struct hstate [2]
huge_zero_folio         struct folio *
huge_zero_page          struct page *
huge_zero_pfn           unsigned long
hugetlb_max_hstate      int
init_mm                 struct mm_struct
init_pid_ns             struct pid_namespace
init_task               struct task_struct
iomem_resource          struct resource
kfence_metadata         struct kfence_metadata *
max_low_pfn             unsigned long
max_pfn                 unsigned long
mem_section             struct mem_section **
memblock                struct memblock
min_low_pfn             unsigned long
mod_tree                struct mod_tree_root
modules                 struct list_head
node_data               struct pglist_data *[kmem_cache.per_node kmem_cache.node]
node_states             nodemask_t [NR_NODE_STATES]
nr_cpu_ids              unsigned int
nr_node_ids             unsigned int
nr_swapfiles            unsigned int
nr_vmap_nodes           unsigned int
page_offset_base        unsigned long
pci_bus_type            struct bus_type
pcpu_base_addr          void *
pcpu_chunk_lists        struct list_head *
pcpu_nr_slots           int
pcpu_unit_offsets       const unsigned long *
pcpu_unit_size          int
pgdir_shift             unsigned int
physical_mask           phys_addr_t
physmem_end             unsigned long
poking_mm               struct mm_struct *
ptrs_per_p4d            unsigned int
pvti_cpu0_va            struct pvclock_vsyscall_time_info *
rodata_enabled          bool
runqueues               struct rq
secretmem_aops          const struct address_space_operations
single                  struct vmap_node
slab_caches             struct list_head
slab_kset               struct kset *
sme_me_mask             u64
special_mapping_vmops   const struct vm_operations_struct
swap_info               struct swap_info_struct *[]
sysctl_max_map_count    int
sysctl_memory_failure_recovery  int
system_state            enum system_states
task_struct_cachep      struct kmem_cache *
text_poke_mm            struct mm_struct *
umh_shm_fops            const struct file_operations
umh_shm_region          struct umh_shm_region
vdso_image_64           const struct vdso_image
vdso_k_rng_data         struct vdso_rng_data *
vdso_k_time_data        struct vdso_time_data *
vdso_mapping            const struct vm_special_mapping
vdso_vvar_mapping       const struct vm_special_mapping
vm_area_cachep          struct kmem_cache *
vmalloc_base            unsigned long
vmap_area_list          struct list_head
vmap_area_root          struct rb_root
vmap_nodes              struct vmap_node *
vmap_zone_size          unsigned int
vmemmap_base            unsigned long
vsyscall_mode           enum with XONLY
vvar_mapping            const struct vm_special_mapping
x86_cap_flags           const char * const [32n]
zero_pfn                unsigned long
"""


def _rows() -> Iterator[tuple[str, str]]:
    for line in TABLE.split("\n"):
        name, _, kind = line.partition(" ")
        if name:
            yield name, kind.strip()


_TYPES: Final = dict(_rows())


def names() -> tuple[str, ...]:
    """Return the names of the table."""
    return tuple(_TYPES)


def type_of(name: str) -> str | None:
    """Return the type of a variable as the table writes it; None if it has none."""
    return _TYPES.get(name)

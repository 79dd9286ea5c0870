# SPDX-License-Identifier: GPL-2.0-or-later
"""Kinds of regions that rules treat in their own way; each is the kind of a finder."""

from __future__ import annotations

from typing import Final

#: The region of pageproof's own module, which has slots.
UMH_SHM: Final = "umh_shm"
#: The vDSO, which processes execute, and vvar.
VDSO: Final = "vdso"
#: /dev/mem, which may map any frame.
DEVMEM: Final = "devmem"
#: The kinds of pageproof's own finders, which take long to load (pageproof.find.shared.FINDERS).
OWN_KINDS: Final = frozenset(
    {
        UMH_SHM,
        "perf",
        "io_uring",
        "packet",
        "xdp",
        "aio",
        "bpf",
        "shmem",
        "hugetlb",
        "udmabuf",
        "kvm",
        DEVMEM,
        "pci",
        "uio",
        VDSO,
    }
)

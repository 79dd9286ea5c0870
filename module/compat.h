/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only file that tests the kernel version. Kbuild includes it before any
 * other header. The module is written for the newest kernel; these definitions
 * provide its interfaces on older kernels. Newest change first.
 */
#ifndef UMH_SHM_COMPAT_H
#define UMH_SHM_COMPAT_H

#ifndef __ASSEMBLY__

/* Not a version difference, but it must precede every kernel header. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0)
#error "umh_shm needs Linux 5.10 or newer"
#endif

#include <linux/mm.h>
#include <linux/mmzone.h>

/*
 * 590d356aa433 ("mm: update shmem_[kernel]_file_*() functions to use
 * vma_flags_t"), 7.0: before it the flags were a plain word.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#undef EMPTY_VMA_FLAGS
#define EMPTY_VMA_FLAGS	0UL
#endif

/*
 * 5e0a760b4441 ("mm, treewide: rename MAX_ORDER to MAX_PAGE_ORDER"), 6.8, and
 * 23baf831a32c ("mm, treewide: redefine MAX_ORDER sanely"), 6.4: before the
 * latter MAX_ORDER was one more than the largest order.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define MAX_PAGE_ORDER	(MAX_ORDER - 1)
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define MAX_PAGE_ORDER	MAX_ORDER
#endif

/*
 * bc292ab00f6c ("mm: introduce vma->vm_flags wrapper functions"), 6.3. Some
 * stable kernels have a backport, whose inline functions the macro hides.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void umh_shm_vm_flags_mod(struct vm_area_struct *vma,
					vm_flags_t set, vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}

#define vm_flags_mod	umh_shm_vm_flags_mod
#endif

/*
 * a24d22b225ce ("crypto: sha - split sha.h into sha1.h and sha2.h"), 5.11.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#include <crypto/sha.h>
#else
#include <crypto/sha2.h>
#endif

#endif /* !__ASSEMBLY__ */

#endif /* UMH_SHM_COMPAT_H */

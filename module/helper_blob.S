/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The helper's program. launch.c copies it to a file in memory while the module
 * loads, so the kernel frees it with the module's init section.
 */
	.section .init.rodata, "a"
	.balign	8
	.globl	umh_shm_helper_blob
umh_shm_helper_blob:
	.incbin	UMH_SHM_HELPER
	.globl	umh_shm_helper_blob_end
umh_shm_helper_blob_end:

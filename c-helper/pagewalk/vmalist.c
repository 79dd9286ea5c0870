// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of VMAs of a kernel before 6.1. */
#include "structs_internal.h"

static int lose(struct pw_vma_walk *walk, enum pw_loss_kind kind, uint64_t address, uint64_t value,
		int reason)
{
	pw_losses_add(walk->losses, &(struct pw_loss){ .kind = kind, .address = address,
						       .value = value,
						       .reason = (uint64_t)reason });
	return PW_OK;
}

int pw_walk_list(struct pw_vma_walk *walk, uint64_t first)
{
	uint64_t vma = first, found = 0;

	pw_seen_clear(&walk->vmas);
	while (vma) {
		const uint64_t next = vma + walk->layout->next;
		unsigned char buffer[8];
		const void *bytes;
		uint64_t fault;
		int err;

		if (pw_seen_find(&walk->vmas, vma))
			return lose(walk, PW_LOSS_CIRCLE, vma, 0, 0);
		if (found >= walk->max_vmas || !*walk->budget)
			return lose(walk, PW_LOSS_VMAS, vma, found, 0);
		found++;
		--*walk->budget;
		if (!pw_seen_add(&walk->vmas, vma, 0) || !pw_words_push(walk->found, vma))
			return PW_NO_MEMORY;
		err = pw_read_virtual(walk->reader, next, sizeof(buffer), buffer, &bytes, &fault);
		if (err < 0)
			return err;
		if (err)
			return lose(walk, PW_LOSS_LINK, vma, fault, err);
		vma = pw_load(bytes, 0);
	}
	return PW_OK;
}

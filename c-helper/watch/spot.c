// SPDX-License-Identifier: GPL-2.0-or-later
/* Spots: the breakpoints of one address. */
#include "spot.h"

#include <errno.h>
#include <string.h>

#include "event.h"
#include "pieces.h"

void watch_spot_close(struct watch *watch, struct watch_spot *spot)
{
	for (size_t i = 0; i < spot->pieces_count; i++) {
		watch_event_close(watch, spot->pieces[i].any);
		watch_event_close(watch, spot->pieces[i].write);
		spot->pieces[i].any = spot->pieces[i].write = NO_EVENT;
	}
	spot->places_count = 0;
}

uint32_t watch_used(const struct watch *watch)
{
	size_t used = 0;

	for (size_t i = 0; i < WATCH_REGISTERS; i++)
		used += watch->spots[i].places_count ? watch->spots[i].pieces_count : 0;
	return (uint32_t)used;
}

static void split(struct watch_spot *spot)
{
	uint64_t address = spot->address;
	uint32_t left = spot->length;

	for (spot->pieces_count = 0; left; spot->pieces_count++) {
		uint32_t bytes = watch_piece_bytes(address, left);

		spot->pieces[spot->pieces_count] = (struct watch_piece){
			.address = address, .bytes = bytes, .any = NO_EVENT, .write = NO_EVENT,
		};
		address += bytes;
		left -= bytes;
	}
}

static int open_events(struct watch *watch, struct watch_spot *spot, bool exact)
{
	int event;

	for (size_t i = 0; i < spot->pieces_count; i++) {
		struct watch_piece *piece = &spot->pieces[i];

		if (exact) {
			event = watch_event_open(watch, spot, i, true, NO_EVENT);
			if (event < 0)
				return event;
			piece->write = event;
		}
		event = watch_event_open(watch, spot, i, watch->options.writes_only, piece->write);
		if (event < 0)
			return event;
		piece->any = event;
		watch_event_set_exact(watch, event, exact);
	}
	for (size_t i = 0; i < spot->pieces_count; i++) {
		const struct watch_piece *piece = &spot->pieces[i];
		int err = watch_event_enable(watch, exact ? piece->write : piece->any);

		if (err)
			return err;
	}
	return 0;
}

/* Take the second registers of the newest spot that has some. Its events go on without a break. */
static bool give_back(struct watch *watch)
{
	struct watch_spot *newest = NULL;

	for (size_t i = 0; i < WATCH_REGISTERS; i++) {
		struct watch_spot *spot = &watch->spots[i];

		if (spot->places_count && spot->pieces[0].write != NO_EVENT &&
		    (!newest || spot->age > newest->age))
			newest = spot;
	}
	for (size_t i = 0; newest && i < newest->pieces_count; i++) {
		/* First, so that no write looks like a read. */
		watch_event_set_exact(watch, newest->pieces[i].any, false);
		watch_event_close(watch, newest->pieces[i].write);
		newest->pieces[i].write = NO_EVENT;
	}
	return newest;
}

int watch_spot_open(struct watch *watch, struct watch_spot *spot)
{
	const uint32_t row = WATCH_ROW_SPOTS + (uint32_t)(spot - watch->spots);
	bool exact = !watch->options.writes_only;
	int err;

	memset(watch_row(watch, row, 0), 0, watch->cpus_end * sizeof(*watch->counts));
	for (;;) {
		err = open_events(watch, spot, exact);
		if (!err)
			break;
		watch_spot_close(watch, spot);
		if (err != -ENOSPC || (!exact && !give_back(watch)))
			return err;
		exact = false;
	}
	spot->age = watch->ages++;
	watch->released = false;
	return 0;
}

struct watch_spot *watch_spot_of(struct watch *watch, const struct watch_place *place)
{
	struct watch_spot *found = NULL;

	for (size_t i = 0; i < WATCH_REGISTERS; i++) {
		struct watch_spot *spot = &watch->spots[i];

		if (!spot->places_count)
			found = found ? found : spot;
		else if (spot->address == place->address && spot->length == place->length &&
			 spot->user == !!place->mm)
			return spot;
	}
	if (!found ||
	    watch_used(watch) + watch_pieces(place->address, place->length) > WATCH_REGISTERS)
		return NULL;
	*found = (struct watch_spot){
		.address = place->address, .length = place->length, .user = place->mm,
	};
	split(found);
	return found;
}

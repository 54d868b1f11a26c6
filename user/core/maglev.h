/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev rings (Eisenbud et al., NSDI 2016, section 3.4), weighted. Pure; caller's memory.
 * The same members, weights and seed give the same ring, in whatever order they are listed.
 */
#pragma once

#include "types.h"

#include <stddef.h>

struct gs_maglev_member {
	gs_id backend;	 /* what is written into the slots */
	uint16_t weight; /* >= 1 */
	uint64_t key;	 /* identity that survives renumbering: hash of address; distinct */
};

/*
 * A prime, about 1,000 x the members or more, in three classes: 4,099 up to 4 members, 16,411 up to
 * 16, 65,537 beyond. Classes, because a ring of another length is another ring: with a length of
 * its own for every member count, one backend more or less would move nearly every client.
 * Count members that are in maintenance, too: then maintenance never changes the class.
 */
uint32_t gs_maglev_slots(uint32_t members);
/* Bytes of scratch gs_maglev_build needs. */
size_t gs_maglev_scratch(uint32_t members);
/*
 * Fills ret_slots[0 .. slots). scratch: gs_maglev_scratch(members) bytes, 8-byte aligned. slots
 * must be prime and >= members. 0; -EINVAL: no members, a weight of 0, equal keys, slots unfit.
 */
int gs_maglev_build(const struct gs_maglev_member *members, uint32_t count, uint64_t seed,
		    void *scratch, uint32_t slots, gs_id *ret_slots);

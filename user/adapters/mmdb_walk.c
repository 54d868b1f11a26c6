// SPDX-License-Identifier: Apache-2.0
#include "mmdb_walk.h"

#include "user/base/progress.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

__extension__ typedef unsigned __int128 u128;

enum { PROGRESS_NODES = 1 << 16 }; /* between two looks at whether it should go on */

static void free_runs(struct gs_mmdb_runs *runs)
{
	free(runs->starts);
	free(runs->classes);
}

void gs_mmdb_walk_done(struct gs_mmdb_walk *walk)
{
	gs_mmdb_file_close(&walk->file);
	free_runs(&walk->v4);
	free_runs(&walk->v6);
}

int gs_mmdb_progress(struct gs_mmdb_walk *walk, uint64_t done)
{
	int err = gs_progress_at(walk->progress, done);

	return err ? gs_mmdb_fail(err, walk->error, "cancelled") : 0;
}

int gs_mmdb_fail_memory(struct gs_error *error)
{
	return gs_mmdb_fail(-ENOMEM, error, "no memory");
}

void *gs_mmdb_alloc(size_t size)
{
	const size_t huge = 2u << 20;
	void *memory;

	if (size < huge)
		return aligned_alloc(64, (size + 63) / 64 * 64);
	memory = aligned_alloc(huge, (size + huge - 1) / huge * huge);
	/* Most of a load is first touches of pages; without huge ones it takes longer, that is all.
	 */
	if (memory)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

/* More than a tree of so many nodes can have; what is not touched is not there. */
static int make_room(struct gs_mmdb_runs *runs, uint32_t node_count)
{
	runs->room = node_count + (size_t)2;
	runs->starts = gs_mmdb_alloc(runs->room * sizeof(*runs->starts));
	runs->classes = gs_mmdb_alloc(runs->room * sizeof(*runs->classes));
	return runs->starts && runs->classes ? 0 : -ENOMEM;
}

static int append_run(struct gs_mmdb_runs *runs, u128 start, uint32_t class)
{
	if (runs->count > 0 && runs->classes[runs->count - 1] == class)
		return 0;
	if (runs->count == runs->room)
		return -ENOMEM; /* never: a leaf more than nodes */
	runs->starts[runs->count].high = (uint64_t)(start >> 64);
	runs->starts[runs->count].low = (uint64_t)start;
	runs->classes[runs->count++] = class;
	return 0;
}

/* A place in the tree: `bits` bits of an address of `width` bits were read. */
struct place {
	u128 first;
	unsigned bits;
	unsigned width;
	uint32_t node; /* where it was read; for people */
};

/* "node 1234 (at 10.0.0.0/8): <wrong>" */
static int fail_at(struct gs_mmdb_walk *walk, const struct place *place, const char *wrong)
{
	char text[GS_PREFIX_TEXT_MAX];
	struct gs_prefix prefix = {.is_v4 = place->width == 32, .length = (uint8_t)place->bits};

	if (prefix.is_v4)
		prefix.addr = gs_addr_from_v4((uint32_t)place->first);
	for (unsigned i = 0; !prefix.is_v4 && i < 16; i++)
		prefix.addr.bytes[i] = (uint8_t)(place->first >> (120 - 8 * i));
	return gs_mmdb_fail(-EINVAL, walk->error, "node %u (at %s): %s", place->node,
			    gs_prefix_format(&prefix, text), wrong);
}

/* What a record that is no node says: nothing, or data. */
static int take_leaf(struct gs_mmdb_walk *walk, struct gs_mmdb_runs *runs,
		     const struct place *place, uint32_t record)
{
	uint32_t class = 0;
	struct gs_error inner;
	uint32_t offset;
	int err;

	if (record != walk->file.mmdb.metadata.node_count) {
		if (!gs_mmdb_file_data_offset(&walk->file, record, &offset))
			return fail_at(walk, place, "record points past the data section");
		err = walk->read(walk->context, &walk->file, offset, &class, &inner);
		if (err == -ENOMEM)
			return gs_mmdb_fail_memory(walk->error);
		if (err) {
			char wrong[GS_ERROR_MAX];

			snprintf(wrong, sizeof(wrong), "record at data offset %u: %.240s", offset,
				 inner.text);
			return fail_at(walk, place, wrong);
		}
		runs->networks++;
	}
	return append_run(runs, place->first, class) ? gs_mmdb_fail_memory(walk->error) : 0;
}

/* IPv4 inside the IPv6 tree: once as itself, and not again where the tree points back to it. */
static bool is_v4_alias(const struct gs_mmdb_walk *walk, const struct place *place, uint32_t record)
{
	return place->width == 128 && record == walk->file.mmdb.ipv4_start_node.node_value;
}

/* A node on the way down. */
struct frame {
	u128 first;
	uint32_t node;
	uint32_t records[2];
	unsigned side; /* to be looked at next; 2: both were */
};

static int enter_node(struct gs_mmdb_walk *walk, struct frame *frame, uint32_t node, u128 first)
{
	MMDB_search_node_s read;
	int status = MMDB_read_node(&walk->file.mmdb, node, &read);

	if (status != MMDB_SUCCESS)
		return gs_mmdb_fail(-EINVAL, walk->error, "node %u: %s", node,
				    MMDB_strerror(status));
	*frame = (struct frame){
		.first = first,
		.node = node,
		.records = {(uint32_t)read.left_record, (uint32_t)read.right_record},
	};
	walk->visited++;
	return walk->visited % PROGRESS_NODES ? 0 : gs_mmdb_progress(walk, walk->visited);
}

/*
 * Everything below one record, in address order. A tree visits each node once, so more visits than
 * nodes mean records that share or circle; a circle is also deeper than an address has bits.
 */
static int walk_below(struct gs_mmdb_walk *walk, struct gs_mmdb_runs *runs, uint32_t root,
		      unsigned width)
{
	const uint32_t node_count = walk->file.mmdb.metadata.node_count;
	struct frame frames[128];
	struct place place = {.width = width};
	unsigned depth = 0;
	int err;

	if (root >= node_count)
		return take_leaf(walk, runs, &place, root);
	err = enter_node(walk, &frames[depth++], root, 0);
	while (!err && depth > 0) {
		struct frame *frame = &frames[depth - 1];
		uint32_t record;

		if (frame->side == 2) {
			depth--;
			continue;
		}
		place.first = frame->first | (u128)frame->side << (width - depth);
		place.bits = depth;
		place.node = frame->node;
		record = frame->records[frame->side++];
		if (record >= node_count)
			err = take_leaf(walk, runs, &place, record);
		else if (is_v4_alias(walk, &place, record))
			err = append_run(runs, place.first, 0) ? gs_mmdb_fail_memory(walk->error)
							       : 0;
		else if (depth == width)
			return fail_at(walk, &place,
				       "tree is deeper than an address has bits: it runs in a "
				       "circle");
		else if (walk->visited >= node_count)
			return fail_at(walk, &place,
				       "more nodes on the way than the file has: branches share "
				       "nodes or run in a circle");
		else
			err = enter_node(walk, &frames[depth++], record, place.first);
	}
	return err;
}

int gs_mmdb_walk(struct gs_mmdb_walk *walk)
{
	const MMDB_s *mmdb = &walk->file.mmdb;
	const bool is_v6 = mmdb->metadata.ip_version == 6;
	int err;

	/* The IPv4 tree hangs below 96 zero bits, unless a shorter prefix says it all. */
	if (is_v6 && mmdb->ipv4_start_node.node_value == 0)
		return gs_mmdb_fail(-EINVAL, walk->error,
				    "node 0 (at ::/96): tree runs in a circle");
	if (make_room(&walk->v4, mmdb->metadata.node_count) ||
	    make_room(&walk->v6, is_v6 ? mmdb->metadata.node_count : 0))
		return gs_mmdb_fail_memory(walk->error);
	gs_progress_begin(walk->progress, GS_PHASE_LOCATING, mmdb->metadata.node_count);
	err = walk_below(walk, &walk->v4, mmdb->ipv4_start_node.node_value, 32);
	if (!err && is_v6)
		err = walk_below(walk, &walk->v6, 0, 128);
	if (!err && !is_v6 && append_run(&walk->v6, 0, 0))
		err = gs_mmdb_fail_memory(walk->error);
	if (!err && walk->v4.networks + walk->v6.networks == 0)
		err = gs_mmdb_fail(-EINVAL, walk->error, "database holds no networks");
	return err;
}

/* ---- digests --------------------------------------------------------------------------------- */

uint64_t gs_mmdb_digest_step(uint64_t digest, uint64_t word)
{
	digest = (digest ^ word) * 0x9e3779b97f4a7c15ULL;
	return digest ^ (digest >> 29);
}

uint64_t gs_mmdb_digest_bytes(uint64_t digest, const void *bytes, size_t size)
{
	uint64_t word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		word = 0;
		memcpy(&word, (const char *)bytes + i,
		       size - i < sizeof(word) ? size - i : sizeof(word));
		digest = gs_mmdb_digest_step(digest, word);
	}
	return gs_mmdb_digest_step(digest, size);
}

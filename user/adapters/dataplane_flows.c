/* SPDX-License-Identifier: Apache-2.0 */
#include "flow_table.h"

#include "dataplane_pin.h"
#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct gs_dataplane_pin META = {GS_MAP_META, BPF_MAP_TYPE_ARRAY,
					     sizeof(struct gs_meta_value), 1};
static const struct gs_dataplane_pin FLOWS = {GS_MAP_FLOWS, BPF_MAP_TYPE_ARRAY,
					      sizeof(struct gs_flow_bucket), 0};
static const struct gs_dataplane_pin BACKENDS = {GS_MAP_BACKENDS, BPF_MAP_TYPE_ARRAY,
						 sizeof(struct gs_backend_value), GS_MAX_BACKENDS};

/* As the packet path writes it: one word. */
union flow_bits {
	uint64_t word;
	struct gs_flow_entry as;
};

struct gs_flow_table {
	struct gs_meta_value *meta; /* mapped */
	uint64_t *words;	    /* mapped; buckets * GS_FLOW_WAYS */
	uint32_t buckets;
	struct gs_backend_value backends[GS_MAX_BACKENDS];
};

static const char *const state_names[] = {"active", "quiet", "unproven", "closed", "abandoned"};
_Static_assert(ARRAY_SIZE(state_names) == GS_FLOW_IS__COUNT, "a name each");

const char *gs_flow_state_name(enum gs_flow_state state)
{
	return state < GS_FLOW_IS__COUNT ? state_names[state] : "?";
}

int gs_flow_state_parse(const char *text, enum gs_flow_state *ret_state)
{
	for (int i = 0; i < GS_FLOW_IS__COUNT; i++)
		if (strcmp(text, state_names[i]) == 0) {
			*ret_state = (enum gs_flow_state)i;
			return 0;
		}
	return -EINVAL;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int read_backends(struct gs_flow_table *table, int fd, struct gs_error *error)
{
	GS_AUTO_FREE uint32_t *keys = calloc(GS_MAX_BACKENDS, sizeof(*keys));
	uint32_t batch, count = GS_MAX_BACKENDS;

	if (!keys)
		return gs_error_set(-ENOMEM, error, "out of memory");
	if (bpf_map_lookup_batch(fd, NULL, &batch, keys, table->backends, &count, NULL) &&
	    errno != ENOENT)
		return gs_error_set(-errno, error, "map %s: %s", BACKENDS.name, strerror(errno));
	return 0;
}

static int open_table(struct gs_flow_table *table, const char *pin_dir, bool writes,
		      struct gs_error *error)
{
	GS_AUTO_CLOSE int fd = -1;
	void *memory;
	int result = gs_dataplane_pin_map(pin_dir, &META, false, &memory, NULL, error);

	if (result)
		return result;
	table->meta = memory;
	result = gs_dataplane_pin_map(pin_dir, &FLOWS, writes, &memory, &table->buckets, error);
	if (result)
		return result;
	table->words = memory;
	result = gs_dataplane_pin_open(pin_dir, &BACKENDS, &fd, NULL, error);
	return result ? result : read_backends(table, fd, error);
}

int gs_flow_table_open(const char *pin_dir, bool writes, struct gs_flow_table **ret_table,
		       struct gs_error *error)
{
	struct gs_flow_table *table = calloc(1, sizeof(*table));
	int result;

	if (!table)
		return gs_error_set(-ENOMEM, error, "out of memory");
	result = open_table(table, pin_dir, writes, error);
	if (result) {
		gs_flow_table_close(table);
		return result;
	}
	*ret_table = table;
	return 0;
}

void gs_flow_table_close(struct gs_flow_table *table)
{
	if (!table)
		return;
	gs_dataplane_pin_unmap(table->meta, &META, 1);
	gs_dataplane_pin_unmap(table->words, &FLOWS, table->buckets);
	free(table);
}

uint32_t gs_flow_table_buckets(const struct gs_flow_table *table)
{
	return table->buckets;
}

uint32_t gs_flow_table_ways(void)
{
	return GS_FLOW_WAYS;
}

/* ---- entries --------------------------------------------------------------------------------- */

static uint32_t now_units(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(((uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec) >> 30) &
	       GS_SEEN_TIME;
}

/* As gs_flow_age in bpf/flow.h. */
static uint32_t age_of(uint32_t now, uint16_t seen)
{
	uint32_t age = (now - seen) & GS_SEEN_TIME;

	return age > GS_SEEN_TIME - GS_SEEN_AHEAD ? 0 : age;
}

/* As gs_flow_worth there. */
static enum gs_flow_state state_of(struct gs_flow_entry entry, uint32_t age)
{
	if (age > GS_FLOW_IDLE)
		return GS_FLOW_IS_ABANDONED;
	if (entry.backend & GS_FLOW_CLOSED)
		return GS_FLOW_IS_CLOSED;
	if (!(entry.seen & GS_FLOW_PROVEN))
		return GS_FLOW_IS_UNPROVEN;
	return age > GS_SYN_KEEPS ? GS_FLOW_IS_QUIET : GS_FLOW_IS_ACTIVE;
}

static uint64_t *word_at(const struct gs_flow_table *table, uint32_t bucket, uint32_t way)
{
	return &table->words[(size_t)bucket * GS_FLOW_WAYS + way];
}

static struct gs_flow_row row_of(const struct gs_flow_table *table, uint32_t bucket, uint32_t way,
				 struct gs_flow_entry entry, uint32_t now)
{
	uint32_t age = age_of(now, entry.seen), backend = entry.backend & ~GS_FLOW_CLOSED;
	struct gs_flow_row row = {
		.bucket = bucket,
		.way = way,
		.tag = entry.tag,
		.backend = (gs_id)backend,
		.is_proven = entry.seen & GS_FLOW_PROVEN,
		.is_closed = entry.backend & GS_FLOW_CLOSED,
		.state = state_of(entry, age),
		.age_s = (uint32_t)(((uint64_t)age << 30) / 1000000000u),
	};

	if (backend < GS_MAX_BACKENDS && table->backends[backend].mode != GS_FORWARD_NONE) {
		row.service = table->backends[backend].service;
		row.region = table->backends[backend].region;
	}
	return row;
}

void gs_flow_table_walk(const struct gs_flow_table *table, gs_flow_visit *visit, void *context)
{
	uint32_t now = now_units();

	for (uint32_t bucket = 0; bucket < table->buckets; bucket++)
		for (uint32_t way = 0; way < GS_FLOW_WAYS; way++) {
			union flow_bits bits = {.word = __atomic_load_n(word_at(table, bucket, way),
									__ATOMIC_RELAXED)};
			struct gs_flow_row row;

			if (bits.as.tag == 0)
				continue;
			row = row_of(table, bucket, way, bits.as, now);
			if (!visit(context, &row))
				return;
		}
}

bool gs_flow_table_find(const struct gs_flow_table *table, const struct gs_flow_key *key,
			struct gs_flow_row *ret_row)
{
	struct gs_flow_tuple tuple = {.src_port = htons(key->sport),
				      .dst_port = htons(key->dport),
				      .protocol = (__u8)key->protocol};
	struct gs_flow_row row = {0};
	uint64_t hash;

	memcpy(tuple.src, key->src.bytes, sizeof(tuple.src));
	memcpy(tuple.dst, key->dst.bytes, sizeof(tuple.dst));
	hash = gs_hash_flow(&tuple, table->meta->table_seed);
	row.bucket = (uint32_t)hash & (table->buckets - 1);
	row.tag = (uint32_t)(hash >> 32) ? (uint32_t)(hash >> 32) : 1;
	*ret_row = row;
	for (uint32_t way = 0; way < GS_FLOW_WAYS; way++) {
		union flow_bits bits = {
			.word = __atomic_load_n(word_at(table, row.bucket, way), __ATOMIC_RELAXED)};

		if (bits.as.tag != row.tag)
			continue;
		*ret_row = row_of(table, row.bucket, way, bits.as, now_units());
		return true;
	}
	return false;
}

bool gs_flow_table_erase(struct gs_flow_table *table, const struct gs_flow_row *row)
{
	uint64_t *word = word_at(table, row->bucket, row->way);
	union flow_bits bits = {.word = __atomic_load_n(word, __ATOMIC_RELAXED)};

	/* Seen again, or closed, it is the same flow still: tried until the word holds. */
	while (bits.as.tag == row->tag && (bits.as.backend & ~GS_FLOW_CLOSED) == row->backend)
		if (__atomic_compare_exchange_n(word, &bits.word, 0, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/core/random.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define TABLE_SEED 0x7ab1eull
#define FOR_GOOD (1ull << 62)	  /* full again in 36 years */
#define SETTLES_NS (NS_PER_S / 4) /* a token comes back after a second */

enum { NONE = 0, ONE = 1, MANY = 1000000, BUCKETS_MAX = 4096 };
enum scope { OF_CLIENT, OF_SERVICE, OF_REGION };

/* Of which limit: no padding, compared whole. */
struct which {
	uint32_t scope, id, kind; /* id of service or region; enum gs_limit_kind */
	uint8_t prefix[16];	  /* OF_CLIENT */
};

/* One that has given a token. */
struct bucket {
	struct which which;
	bool is_used_up;
	uint64_t taken_ns; /* CLOCK_MONOTONIC; 0: used up for good */
};

static struct {
	struct gs_service_value service[EDGE_SERVICES];
	struct gs_region_limit_value region[EDGE_REGIONS];
	struct bucket bucket[BUCKETS_MAX]; /* by hash, or behind */
	uint32_t touched[BUCKETS_MAX];	   /* places of bucket[] that are taken, as they came */
	uint32_t count, settled; /* of touched: from here on some are not used up for good */
	bool has_beat;
	uint64_t age_s; /* of the heartbeat */
} now;

static uint64_t clock_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * NS_PER_S + (uint64_t)at.tv_nsec;
}

/* ---- stale ----------------------------------------------------------------------------------- */

enum gs_reason model_stale(enum gs_stale policy, uint32_t after_s)
{
	if (policy == GS_STALE_KEEP || !now.has_beat || now.age_s < after_s)
		return GS_REASON__COUNT;
	return policy == GS_STALE_PASS ? GS_REASON_pass_stale : GS_REASON_drop_stale;
}

enum gs_reason model_stale_service(uint32_t service)
{
	return model_stale(now.service[service].stale, now.service[service].stale_after_s);
}

static void random_heartbeat(const struct xdp_edge *edge, uint64_t *seed)
{
	static const uint64_t ages_s[] = {0, 0, 10, 30};
	struct gs_meta_value meta = xdp_edge_meta(edge);

	now.has_beat = gs_random(seed) % 4 != 0;
	now.age_s = ages_s[gs_random(seed) % 4];
	assert_true(clock_ns() > now.age_s * NS_PER_S);
	meta.heartbeat_ns = now.has_beat ? clock_ns() - now.age_s * NS_PER_S : 0;
	xdp_edge_set_meta(edge, &meta);
}

/* ---- buckets --------------------------------------------------------------------------------- */

static void set_word(const struct xdp_edge *edge, uint32_t block, uint32_t word, uint64_t value)
{
	struct gs_limit_block limits;

	xdp_edge_get(edge, GS_MAP_LIMITS, &block, &limits);
	limits.word[word % GS_LIMIT_WORDS] = value;
	xdp_edge_set(edge, GS_MAP_LIMITS, &block, &limits);
}

static void set_words(const struct xdp_edge *edge, const struct which *which, uint64_t value)
{
	uint32_t prefix[4], mask = (1u << GS_LIMIT_HALF_BITS) - 1;
	uint64_t hash;

	if (which->scope != OF_CLIENT) {
		set_word(edge, which->id + (which->scope == OF_REGION ? GS_LIMIT_REGION_BLOCK : 0),
			 which->kind, value);
		return;
	}
	memcpy(prefix, which->prefix, sizeof(prefix));
	hash = gs_hash_limit(prefix, which->id, which->kind, TABLE_SEED);
	for (uint32_t half = 0; half < 2; half++, hash >>= 32)
		set_word(edge,
			 GS_LIMIT_CLIENT_BLOCK + half * GS_LIMIT_HALF_BLOCKS +
				 ((uint32_t)hash & mask) / GS_LIMIT_WORDS,
			 (uint32_t)hash & mask, value);
}

static struct bucket *bucket_of(const struct which *which)
{
	const struct bucket fresh = {.which = *which};
	uint32_t at = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof(*which); i++)
		at = (at ^ ((const uint8_t *)which)[i]) * 16777619u;
	for (at %= BUCKETS_MAX; now.bucket[at].which.id; at = (at + 1) % BUCKETS_MAX)
		if (memcmp(&now.bucket[at].which, which, sizeof(*which)) == 0)
			return &now.bucket[at];
	assert_true(now.count < BUCKETS_MAX / 2);
	now.touched[now.count++] = at;
	now.bucket[at] = fresh;
	return &now.bucket[at];
}

static void fill_buckets(const struct xdp_edge *edge)
{
	for (uint32_t i = 0; i < now.count; i++) {
		struct bucket *bucket = &now.bucket[now.touched[i]];

		set_words(edge, &bucket->which, 0);
		memset(bucket, 0, sizeof(*bucket));
	}
	now.count = now.settled = 0;
}

void model_limits_settle(const struct xdp_edge *edge)
{
	const uint64_t at_ns = clock_ns();

	for (; now.settled < now.count; now.settled++) {
		struct bucket *bucket = &now.bucket[now.touched[now.settled]];

		if (bucket->taken_ns && at_ns - bucket->taken_ns < SETTLES_NS)
			return;
		if (bucket->taken_ns)
			set_words(edge, &bucket->which, FOR_GOOD);
	}
}

/* Whether it is let through, by a limit of so many a second. */
static bool take(const struct which *which, uint32_t rate)
{
	struct bucket *bucket = rate == NONE ? NULL : bucket_of(which);

	if (!bucket)
		return true;
	if (bucket->is_used_up)
		return false;
	bucket->is_used_up = rate == ONE;
	bucket->taken_ns = bucket->is_used_up ? clock_ns() : 0;
	return true;
}

/* ---- who is let in --------------------------------------------------------------------------- */

static struct which client_which(const uint32_t src[4], uint32_t service, uint32_t kind)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct which which = {OF_CLIENT, service, kind, {0}};

	model_client_inside(src, which.prefix);
	model_prefix(which.prefix, memcmp(which.prefix, mapped, sizeof(mapped)) == 0
					   ? 96u + now.service[service].limit4
					   : now.service[service].limit6);
	return which;
}

static bool take_client(const uint32_t src[4], uint32_t service, uint32_t kind, uint32_t rate)
{
	const struct which which = client_which(src, service, kind);

	return model_access(src, service) == MODEL_ALLOWED || take(&which, rate);
}

static bool take_of(enum scope scope, uint32_t id, uint32_t kind, uint32_t rate)
{
	return take(&(struct which){scope, id, kind, {0}}, rate);
}

enum gs_reason model_limit_packet(const uint32_t src[4], uint32_t service, bool is_error)
{
	const struct gs_service_value *limits = &now.service[service];

	if (model_access(src, service) == MODEL_DENIED)
		return GS_REASON_drop_denied;
	if (!is_error && !take_client(src, service, GS_LIMIT_PACKETS, limits->client_packets))
		return GS_REASON_drop_client_packets;
	if (!take_of(OF_SERVICE, service, GS_LIMIT_PACKETS, limits->packets))
		return GS_REASON_drop_service_packets;
	return GS_REASON__COUNT;
}

enum gs_reason model_limit_flow(const uint32_t src[4], uint32_t service)
{
	const struct gs_service_value *limits = &now.service[service];

	if (!take_client(src, service, GS_LIMIT_FLOWS, limits->client_flows))
		return GS_REASON_drop_client_flows;
	if (!take_of(OF_SERVICE, service, GS_LIMIT_FLOWS, limits->flows))
		return GS_REASON_drop_service_flows;
	return GS_REASON__COUNT;
}

enum gs_reason model_limit_region(uint32_t region, bool is_new)
{
	const struct gs_region_limit_value *limits = &now.region[region];

	if (is_new && !take_of(OF_REGION, region, GS_LIMIT_FLOWS, limits->flows))
		return GS_REASON_drop_region_flows;
	if (!take_of(OF_REGION, region, GS_LIMIT_PACKETS, limits->packets))
		return GS_REASON_drop_region_packets;
	return GS_REASON__COUNT;
}

static bool has(const struct which *which, uint32_t rate)
{
	return rate == NONE || !bucket_of(which)->is_used_up;
}

bool model_region_lets_in(uint32_t region)
{
	const struct which flows = {OF_REGION, region, GS_LIMIT_FLOWS, {0}};
	const struct which packets = {OF_REGION, region, GS_LIMIT_PACKETS, {0}};

	return has(&flows, now.region[region].flows) && has(&packets, now.region[region].packets);
}

/* ---- chance, and the maps -------------------------------------------------------------------- */

static uint32_t random_rate(uint64_t *seed)
{
	static const uint32_t rates[] = {NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
					 NONE, MANY, MANY, MANY, MANY, MANY, ONE,  MANY};

	return rates[gs_random(seed) % 16];
}

static void random_service(uint64_t *seed, struct gs_service_value *value)
{
	static const uint8_t policies[] = {GS_STALE_KEEP, GS_STALE_KEEP, GS_STALE_KEEP,
					   GS_STALE_KEEP, GS_STALE_PASS, GS_STALE_DROP};

	value->stale = policies[gs_random(seed) % 6];
	value->stale_after_s = gs_random(seed) % 2 ? 5 : 20;
	value->client_packets = random_rate(seed);
	value->client_flows = random_rate(seed);
	value->packets = random_rate(seed);
	value->flows = random_rate(seed);
	value->limit4 = (uint8_t)(8 + gs_random(seed) % 25);
	value->limit6 = (uint8_t)(16 + gs_random(seed) % 113);
}

/* Some are used up from the start. */
static void use_some_up(const struct xdp_edge *edge, uint64_t *seed)
{
	while (gs_random(seed) % 4) {
		uint32_t service = (uint32_t)(1 + gs_random(seed) % (EDGE_SERVICES - 1));
		uint32_t region = (uint32_t)(1 + gs_random(seed) % (EDGE_REGIONS - 1));
		uint32_t kind = gs_random(seed) % 2 ? GS_LIMIT_PACKETS : GS_LIMIT_FLOWS, src[4];
		uint32_t choice = (uint32_t)(gs_random(seed) % 8);
		struct which which = {OF_SERVICE, service, kind, {0}};
		char text[64];

		if (choice == 1)
			which = (struct which){OF_REGION, region, kind, {0}};
		if (choice > 1) {
			model_clients_draw(seed, choice % 2 ? 4 : 6, text);
			packet_addr(text, (uint8_t *)src);
			which = client_which(src, service, kind);
		}
		bucket_of(&which)->is_used_up = true;
		set_words(edge, &which, FOR_GOOD);
	}
}

void model_limits_random(const struct xdp_edge *edge, uint64_t *seed,
			 struct gs_service_value values[EDGE_SERVICES])
{
	struct gs_meta_value meta;

	fill_buckets(edge);
	for (uint32_t service = 1; service < EDGE_SERVICES; service++) {
		random_service(seed, &values[service]);
		now.service[service] = values[service];
	}
	random_heartbeat(edge, seed);
	meta = xdp_edge_meta(edge);
	meta.generation[0].asks &= ~GS_ASK_REGION_LIMITS;
	for (uint32_t region = 1; region < EDGE_REGIONS; region++) {
		now.region[region] = (struct gs_region_limit_value){.packets = random_rate(seed),
								    .flows = random_rate(seed)};
		xdp_edge_set(edge, GS_MAP_REGION_LIMITS, &region, &now.region[region]);
		if (now.region[region].packets || now.region[region].flows)
			meta.generation[0].asks |= GS_ASK_REGION_LIMITS;
	}
	xdp_edge_set_meta(edge, &meta);
	use_some_up(edge, seed);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model_clients.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/core/random.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RULES_MAX = 8, OVERRIDES_MAX = 4, V4 = 96 /* bits in front of an IPv4 address */ };

/* The world of xdp_edge.h once more, and the IPv6 networks that hold IPv4 addresses. */
static const struct {
	const char *addr;
	uint32_t length, location;
} world[] = {
	{"192.0.2.0", V4 + 24, 1},  {"203.0.113.0", V4 + 25, 2}, {"203.0.113.128", V4 + 25, 3},
	{"172.16.0.0", V4 + 12, 4}, {"198.18.0.0", V4 + 15, 5},	 {"2001:db8:1::", 48, 1},
	{"2001:db8:2::", 48, 2},    {"2001:db8:3::", 48, 3},	 {"2001:db8:4::", 48, 4},
	{"2001:db8:5::", 48, 5},
};

/* A digit goes behind each. */
static const char *const networks4[] = {"192.0.2.", "203.0.113.", "172.16.9.",	 "198.18.3.",
					"8.8.8.",   "192.0.2.",	  "203.0.113.20"};
static const char *const networks6[] = {
	"2001:db8:1::",	    "2001:db8:2::",	 "2001:db8:4::",     "2001:db8:5::",
	"2001:4860:4860::", "64:ff9b::192.0.2.", "2002:cb00:7105::",
};

struct rule {
	uint8_t addr[16];
	uint32_t length; /* of 128 */
	uint32_t service, says;
};

static struct {
	struct rule access[RULES_MAX], override[OVERRIDES_MAX];
	uint32_t access_count, override_count;
	int access_fd[2], override_fd[2]; /* IPv4, IPv6 */
} now;

/* ---- addresses ------------------------------------------------------------------------------- */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t addr[16])
{
	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

void model_prefix(uint8_t addr[16], uint32_t length)
{
	for (uint32_t bit = length; bit < 128; bit++)
		addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

static bool is_in(const uint8_t addr[16], const uint8_t prefix[16], uint32_t length)
{
	uint8_t cut[16];

	memcpy(cut, addr, sizeof(cut));
	model_prefix(cut, length);
	return memcmp(cut, prefix, sizeof(cut)) == 0;
}

/* RFC 3056, RFC 6052 */
void model_client_inside(const uint32_t src[4], uint8_t ret_addr[16])
{
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
	uint8_t addr[16];

	memcpy(addr, src, sizeof(addr));
	memcpy(ret_addr, addr, sizeof(addr));
	if (addr[0] == 0x20 && addr[1] == 0x02)
		memcpy(ret_addr + 12, addr + 2, 4);
	else if (memcmp(addr, nat64, sizeof(nat64)) != 0)
		return;
	memcpy(ret_addr, mapped, sizeof(mapped));
}

void model_clients_draw(uint64_t *seed, uint8_t family, char ret_src[64])
{
	const char *const *networks = family == 4 ? networks4 : networks6;

	snprintf(ret_src, 64, "%s%u", networks[gs_random(seed) % 7],
		 (unsigned)(1 + gs_random(seed) % 9));
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* The longest that is of this service and has the address in it; of two as long the service's. */
static const struct rule *longest(const struct rule *rules, uint32_t count, const uint8_t addr[16],
				  uint32_t service)
{
	const struct rule *best = NULL;

	for (uint32_t i = 0; i < count; i++) {
		if (is_v4(rules[i].addr) != is_v4(addr) ||
		    !is_in(addr, rules[i].addr, rules[i].length) ||
		    (rules[i].service && rules[i].service != service))
			continue;
		if (!best || rules[i].length > best->length ||
		    (rules[i].length == best->length && rules[i].service))
			best = &rules[i];
	}
	return best;
}

/* By the address, and if nothing speaks of it, by the IPv4 one inside. */
static const struct rule *find(const struct rule *rules, uint32_t count, const uint32_t src[4],
			       uint32_t service)
{
	const struct rule *found;
	uint8_t addr[16];

	memcpy(addr, src, sizeof(addr));
	found = longest(rules, count, addr, service);
	if (found)
		return found;
	model_client_inside(src, addr);
	return longest(rules, count, addr, service);
}

enum model_access model_access(const uint32_t src[4], uint32_t service)
{
	const struct rule *rule = find(now.access, now.access_count, src, service);

	if (!rule)
		return MODEL_UNSPOKEN;
	return rule->says ? MODEL_ALLOWED : MODEL_DENIED;
}

uint32_t model_location(const uint32_t src[4])
{
	const struct rule *rule = find(now.override, now.override_count, src, 0);
	uint8_t addr[16], network[16];

	if (rule)
		return rule->says;
	model_client_inside(src, addr);
	for (uint32_t i = 0; i < sizeof(world) / sizeof(world[0]); i++) {
		packet_addr(world[i].addr, network);
		if (is_in(addr, network, world[i].length))
			return world[i].location;
	}
	return 0;
}

/* ---- chance, and the maps -------------------------------------------------------------------- */

/* Some client's prefix, of any length: /0 too. */
static struct rule random_rule(uint64_t *seed)
{
	uint8_t family = gs_random(seed) % 2 ? 4 : 6;
	struct rule rule = {0};
	char src[64];

	model_clients_draw(seed, family, src);
	packet_addr(src, rule.addr);
	rule.length = (uint32_t)(family == 4 ? V4 + gs_random(seed) % 33 : gs_random(seed) % 129);
	model_prefix(rule.addr, rule.length);
	return rule;
}

static bool is_there(const struct rule *rules, uint32_t count, const struct rule *rule)
{
	for (uint32_t i = 0; i < count; i++)
		if (rules[i].length == rule->length && rules[i].service == rule->service &&
		    memcmp(rules[i].addr, rule->addr, sizeof(rule->addr)) == 0)
			return true;
	return false;
}

/* In its trie, or out of it again (value NULL). */
static void put(const int fds[2], const struct rule *rule, bool is_access, const void *value)
{
	const bool is_short = is_v4(rule->addr);
	const int fd = fds[is_short ? 0 : 1];
	const uint32_t length = rule->length - (is_short ? V4 : 0);
	struct gs_access4_key a4 = {length + GS_ACCESS_FIXED_BITS, (uint16_t)rule->service, 0, 0};
	struct gs_access6_key a6 = {length + GS_ACCESS_FIXED_BITS, (uint16_t)rule->service, 0, {0}};
	struct gs_override4_key o4 = {length, 0};
	struct gs_override6_key o6 = {length, {0}};
	const void *key = is_access ? (is_short ? (void *)&a4 : (void *)&a6)
				    : (is_short ? (void *)&o4 : (void *)&o6);

	memcpy(&a4.addr, rule->addr + 12, 4);
	memcpy(&o4.addr, rule->addr + 12, 4);
	memcpy(a6.addr, rule->addr, 16);
	memcpy(o6.addr, rule->addr, 16);
	assert_int_equal(value ? bpf_map_update_elem(fd, key, value, BPF_ANY)
			       : bpf_map_delete_elem(fd, key),
			 0);
}

static void random_access(uint64_t *seed, struct gs_generation_value *generation)
{
	uint32_t wanted = (uint32_t)(gs_random(seed) % 2 ? gs_random(seed) % (RULES_MAX + 1) : 0);

	for (uint32_t i = 0; i < now.access_count; i++)
		put(now.access_fd, &now.access[i], true, NULL);
	now.access_count = 0;
	generation->asks &= ~GS_ASK_ACCESS;
	while (wanted--) {
		struct rule rule = random_rule(seed);
		struct gs_access_value value = {0};

		rule.says = gs_random(seed) % 2;
		rule.service =
			(uint32_t)(gs_random(seed) % 2 ? 0 : gs_random(seed) % EDGE_SERVICES);
		if (is_there(now.access, now.access_count, &rule))
			continue;
		value.length = (uint8_t)(rule.length - (is_v4(rule.addr) ? V4 : 0));
		value.allow = (uint8_t)rule.says;
		put(now.access_fd, &rule, true, &value);
		if (is_v4(rule.addr))
			generation->asks |= rule.service ? GS_ASK_ACCESS4_OWN : GS_ASK_ACCESS4_ALL;
		else
			generation->asks |= rule.service ? GS_ASK_ACCESS6_OWN : GS_ASK_ACCESS6_ALL;
		now.access[now.access_count++] = rule;
	}
}

static void random_overrides(uint64_t *seed, struct gs_generation_value *generation)
{
	uint32_t wanted =
		(uint32_t)(gs_random(seed) % 2 ? gs_random(seed) % (OVERRIDES_MAX + 1) : 0);

	for (uint32_t i = 0; i < now.override_count; i++)
		put(now.override_fd, &now.override[i], false, NULL);
	now.override_count = generation->overrides4 = generation->overrides6 = 0;
	while (wanted--) {
		struct rule rule = random_rule(seed);
		struct gs_override_value value = {.location = (uint32_t)(gs_random(seed) % 7)};

		rule.says = value.location;
		if (is_there(now.override, now.override_count, &rule))
			continue;
		put(now.override_fd, &rule, false, &value);
		*(is_v4(rule.addr) ? &generation->overrides4 : &generation->overrides6) += 1;
		now.override[now.override_count++] = rule;
	}
}

void model_clients_random(const struct xdp_edge *edge, uint64_t *seed)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	random_access(seed, &meta.generation[0]);
	random_overrides(seed, &meta.generation[0]);
	xdp_edge_set_meta(edge, &meta);
}

static int inner_fd(const struct xdp_edge *edge, const char *outer)
{
	uint32_t slot = 0, id;
	int fd;

	xdp_edge_get(edge, outer, &slot, &id);
	fd = bpf_map_get_fd_by_id(id);
	assert_true(fd >= 0);
	return fd;
}

void model_clients_open(const struct xdp_edge *edge)
{
	memset(&now, 0, sizeof(now));
	now.access_fd[0] = inner_fd(edge, GS_MAP_ACCESS4);
	now.access_fd[1] = inner_fd(edge, GS_MAP_ACCESS6);
	now.override_fd[0] = inner_fd(edge, GS_MAP_OVERRIDE4);
	now.override_fd[1] = inner_fd(edge, GS_MAP_OVERRIDE6);
}

void model_clients_close(void)
{
	for (int i = 0; i < 2; i++) {
		close(now.access_fd[i]);
		close(now.override_fd[i]);
	}
}

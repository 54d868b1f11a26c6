/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in, by tries of a generation, and what regions take, by one word each. */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The rules of a family: the snapshot has IPv4 first. */
static const struct gs_access *rules_of(const struct gs_snapshot *snapshot, bool is_v4,
					uint32_t *ret_count)
{
	uint32_t v4 = 0;

	while (v4 < snapshot->access_count && snapshot->access[v4].prefix.is_v4)
		v4++;
	*ret_count = is_v4 ? v4 : snapshot->access_count - v4;
	return is_v4 ? snapshot->access : snapshot->access + v4;
}

static void set_key4(struct gs_access4_key *key, const struct gs_access *rule)
{
	key->prefix_len = GS_ACCESS_FIXED_BITS + rule->prefix.length;
	key->service = rule->service;
	memcpy(&key->addr, &rule->prefix.addr.bytes[12], sizeof(key->addr));
}

static void set_key6(struct gs_access6_key *key, const struct gs_access *rule)
{
	key->prefix_len = GS_ACCESS_FIXED_BITS + rule->prefix.length;
	key->service = rule->service;
	memcpy(key->addr, rule->prefix.addr.bytes, sizeof(key->addr));
}

int gs_dataplane_access_new(const struct gs_dataplane_state *state,
			    const struct gs_snapshot *snapshot, bool is_v4, int *ret_fd,
			    struct gs_error *error)
{
	uint32_t count,
		size = is_v4 ? sizeof(struct gs_access4_key) : sizeof(struct gs_access6_key);
	const struct gs_access *rules = rules_of(snapshot, is_v4, &count);
	GS_AUTO_FREE struct gs_access_value *values = calloc(count + 1, sizeof(*values));
	GS_AUTO_FREE void *keys = calloc(count + 1, size);
	struct gs_dataplane_trie trie = {
		.outer = is_v4 ? GS_DATAPLANE_ACCESS4 : GS_DATAPLANE_ACCESS6,
		.name = is_v4 ? "access4_in" : "access6_in",
		.key_struct = is_v4 ? "gs_access4_key" : "gs_access6_key",
		.value_struct = "gs_access_value",
		.key_size = size,
		.value_size = sizeof(*values),
		.max_entries = GS_MAX_ACCESS,
		.count = count,
		.keys = keys,
		.values = values,
	};

	if (!keys || !values)
		return gs_dataplane_refuse(error, -ENOMEM, trie.outer, "memory");
	for (uint32_t i = 0; i < count; i++) {
		if (is_v4)
			set_key4((struct gs_access4_key *)keys + i, &rules[i]);
		else
			set_key6((struct gs_access6_key *)keys + i, &rules[i]);
		values[i].length = rules[i].prefix.length;
		values[i].allow = rules[i].allow;
	}
	return gs_dataplane_trie_new(&state->maps, &trie, ret_fd, error);
}

int gs_dataplane_limits_write(const struct gs_dataplane_state *state,
			      const struct gs_snapshot *snapshot, struct gs_error *error)
{
	struct gs_region_limit_value wanted[GS_MAX_REGIONS] = {0}, current;
	int fd = state->maps.fd[GS_DATAPLANE_REGION_LIMITS];

	for (uint32_t i = 0; i < snapshot->region_count; i++)
		wanted[snapshot->regions[i].id] = (struct gs_region_limit_value){
			snapshot->regions[i].limit_packets, snapshot->regions[i].limit_flows};
	for (uint32_t id = 0; id < GS_MAX_REGIONS; id++) {
		if (bpf_map_lookup_elem(fd, &id, &current))
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_REGION_LIMITS,
						   "reading it");
		if (memcmp(&wanted[id], &current, sizeof(current)) != 0 &&
		    bpf_map_update_elem(fd, &id, &wanted[id], BPF_ANY))
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_REGION_LIMITS,
						   "writing a region's limits");
	}
	return 0;
}

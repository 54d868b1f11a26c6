/* SPDX-License-Identifier: Apache-2.0 */
/* What the map of services holds and should hold, and the steps from one to the other. */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gs_dataplane_services_done(struct gs_dataplane_service_list *list)
{
	free(list->entries);
	*list = (struct gs_dataplane_service_list){0};
}

static int compare_entries(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct gs_service_key));
}

static bool is_marker(const struct gs_dataplane_service *entry)
{
	return entry->key.marker != 0;
}

static const struct gs_dataplane_service *find_entry(const struct gs_dataplane_service_list *list,
						     const struct gs_dataplane_service *entry)
{
	if (list->count == 0)
		return NULL;
	return bsearch(entry, list->entries, list->count, sizeof(*entry), compare_entries);
}

static bool is_same(const struct gs_dataplane_service *a, const struct gs_dataplane_service *b)
{
	return a && b && memcmp(&a->value, &b->value, sizeof(a->value)) == 0;
}

static struct gs_service_value service_value(const struct gs_service *service)
{
	static const uint8_t affinities[GS_AFFINE__COUNT] = {
		[GS_AFFINE_FLOW] = GS_AFFINITY_FLOW,
		[GS_AFFINE_CLIENT] = GS_AFFINITY_CLIENT,
		[GS_AFFINE_PREFIX] = GS_AFFINITY_PREFIX,
	};
	static const uint8_t stales[GS_STALE_IS__COUNT] = {
		[GS_STALE_IS_KEPT] = GS_STALE_KEEP,
		[GS_STALE_IS_PASSED] = GS_STALE_PASS,
		[GS_STALE_IS_DROPPED] = GS_STALE_DROP,
	};

	return (struct gs_service_value){
		.service = service->id,
		.affinity = affinities[service->affinity.kind],
		.affinity4 = service->affinity.prefix4,
		.affinity6 = service->affinity.prefix6,
		.stale = stales[service->stale.kind],
		.stale_after_s = service->stale.after_s,
		.client_packets = service->limit.client_packets,
		.client_flows = service->limit.client_flows,
		.packets = service->limit.packets,
		.flows = service->limit.flows,
		.limit4 = service->limit.prefix4,
		.limit6 = service->limit.prefix6,
		.priority = service->limit.priority < GS_PRIORITIES ? service->limit.priority
								    : GS_PRIORITIES - 1,
	};
}

/* Of an address: what holds for all of its services, as gs_maps.h has it. */
static void share_stale(struct gs_service_value *address, const struct gs_service_value *other)
{
	if (other->stale < address->stale) /* keep < pass < drop */
		address->stale = other->stale;
	if (other->stale_after_s > address->stale_after_s)
		address->stale_after_s = other->stale_after_s;
	if (address->stale == GS_STALE_KEEP)
		address->stale_after_s = 0;
}

int gs_dataplane_services_want(const struct gs_snapshot *snapshot,
			       struct gs_dataplane_service_list *ret_list, struct gs_error *error)
{
	GS_CLEANUP(gs_dataplane_services_done)
	struct gs_dataplane_service_list list = {
		.entries = calloc(3 * snapshot->service_count + 1, sizeof(*list.entries))};
	uint32_t unique = 0;

	if (!list.entries)
		return gs_dataplane_refuse(error, -ENOMEM, GS_DATAPLANE_SERVICES, "memory");
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];
		struct gs_dataplane_service *entry = &list.entries[list.count++];
		struct gs_dataplane_service *marker = &list.entries[list.count++];
		struct gs_dataplane_service *address = &list.entries[list.count++];

		memcpy(entry->key.addr, service->vip.bytes, sizeof(entry->key.addr));
		entry->key.protocol = (__u8)service->protocol;
		marker->key = entry->key;
		marker->key.marker = 1;
		address->key = marker->key;
		address->key.protocol = 0;
		entry->key.port = (__be16)__builtin_bswap16(service->port);
		entry->value = service_value(service);
		address->value.stale = entry->value.stale;
		address->value.stale_after_s =
			entry->value.stale == GS_STALE_KEEP ? 0 : entry->value.stale_after_s;
	}
	qsort(list.entries, list.count, sizeof(*list.entries), compare_entries);
	for (uint32_t i = 0; i < list.count; i++) {
		if (i > 0 && compare_entries(&list.entries[i], &list.entries[unique - 1]) == 0) {
			if (!is_marker(&list.entries[i]))
				return gs_dataplane_refuse(
					error, -EEXIST, GS_DATAPLANE_SERVICES,
					"two services at one address, port and protocol");
			share_stale(&list.entries[unique - 1].value, &list.entries[i].value);
			continue;
		}
		list.entries[unique++] = list.entries[i];
	}
	list.count = unique;
	*ret_list = list;
	list.entries = NULL;
	return 0;
}

int gs_dataplane_services_list(const struct gs_dataplane_state *state,
			       struct gs_dataplane_service_list *ret_list, struct gs_error *error)
{
	int fd = state->maps.fd[GS_DATAPLANE_SERVICES];
	GS_CLEANUP(gs_dataplane_services_done)
	struct gs_dataplane_service_list list = {
		.entries = calloc(GS_MAX_SERVICE_KEYS, sizeof(*list.entries))};
	struct gs_service_key *previous = NULL;

	if (!list.entries)
		return gs_dataplane_refuse(error, -ENOMEM, GS_DATAPLANE_SERVICES, "memory");
	while (list.count < GS_MAX_SERVICE_KEYS) {
		struct gs_dataplane_service *entry = &list.entries[list.count];

		if (bpf_map_get_next_key(fd, previous, &entry->key)) {
			if (errno == ENOENT)
				break;
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "listing it");
		}
		if (bpf_map_lookup_elem(fd, &entry->key, &entry->value))
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "reading it");
		previous = &entry->key;
		list.count++;
	}
	qsort(list.entries, list.count, sizeof(*list.entries), compare_entries);
	*ret_list = list;
	list.entries = NULL;
	return 0;
}

void gs_dataplane_services_changed(const struct gs_dataplane_state *state)
{
	struct gs_meta_value *meta = state->maps.meta;
	uint32_t next = meta->services_epoch + 1;

	__atomic_store_n(&meta->services_epoch, next ? next : 1, __ATOMIC_RELEASE);
}

int gs_dataplane_services_read(struct gs_dataplane_state *state, struct gs_error *error)
{
	GS_CLEANUP(gs_dataplane_services_done) struct gs_dataplane_service_list list = {0};
	int result = gs_dataplane_services_list(state, &list, error);

	if (result)
		return result;
	for (uint32_t i = 0; i < list.count; i++)
		if (list.entries[i].value.service < GS_MAX_SERVICES)
			state->has_service[list.entries[i].value.service] = true;
	gs_dataplane_links_adopt(state, &list);
	gs_dataplane_services_changed(
		state); /* who wrote them may have been killed before it said so */
	return 0;
}

int gs_dataplane_services_remove(const struct gs_dataplane_state *state,
				 const struct gs_dataplane_service_list *in,
				 const struct gs_dataplane_service_list *keep, bool markers,
				 struct gs_error *error)
{
	for (uint32_t i = 0; i < in->count; i++) {
		const struct gs_dataplane_service *entry = &in->entries[i];

		if (is_marker(entry) != markers || find_entry(keep, entry))
			continue;
		if (bpf_map_delete_elem(state->maps.fd[GS_DATAPLANE_SERVICES], &entry->key) &&
		    errno != ENOENT)
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "removing a service");
		gs_dataplane_services_changed(state);
	}
	return 0;
}

int gs_dataplane_services_add(const struct gs_dataplane_state *state,
			      const struct gs_dataplane_service_list *wanted,
			      const struct gs_dataplane_service_list *current,
			      struct gs_error *error)
{
	for (uint32_t i = 0; i < wanted->count; i++) {
		const struct gs_dataplane_service *entry = &wanted->entries[i];

		if (is_same(entry, find_entry(current, entry)))
			continue;
		if (bpf_map_update_elem(state->maps.fd[GS_DATAPLANE_SERVICES], &entry->key,
					&entry->value, BPF_ANY))
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "adding a service");
		gs_dataplane_services_changed(state);
	}
	return 0;
}

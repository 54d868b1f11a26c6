/* SPDX-License-Identifier: Apache-2.0 */
/* Looking things up in a snapshot (arrays sorted by id) and checking that it makes sense. Pure. */
#pragma once

#include "types.h"

#include <stddef.h>

/* NULL if there is none. */
const struct gs_region *gs_snapshot_region(const struct gs_snapshot *snapshot, gs_id id);
const struct gs_policy *gs_snapshot_policy(const struct gs_snapshot *snapshot, gs_id id);
const struct gs_service *gs_snapshot_service(const struct gs_snapshot *snapshot, gs_id id);
const struct gs_backend *gs_snapshot_backend(const struct gs_snapshot *snapshot, gs_id id);
const struct gs_region *gs_snapshot_region_named(const struct gs_snapshot *snapshot,
						 const char *name);
const struct gs_policy *gs_snapshot_policy_named(const struct gs_snapshot *snapshot,
						 const char *name);
const struct gs_service *gs_snapshot_service_named(const struct gs_snapshot *snapshot,
						   const char *name);
const struct gs_backend *gs_snapshot_backend_named(const struct gs_snapshot *snapshot,
						   const char *name);

/* The override of the smallest place the location is in: subdivision, country, continent. NULL. */
const struct gs_override *gs_snapshot_place_override(const struct gs_snapshot *snapshot,
						     const struct gs_location *location);

const char *gs_admin_name(enum gs_admin admin); /* auto force_up drain maintenance force_down */
int gs_admin_parse(const char *text, enum gs_admin *ret_admin); /* -EINVAL */
const char *gs_protocol_name(enum gs_protocol protocol);	/* tcp udp */
const char *gs_policy_kind_name(enum gs_policy_kind kind);	/* geo failover latency ... */
const char *gs_probe_kind_name(enum gs_probe_kind kind);	/* none tcp http https ... */
const char *gs_forward_name(enum gs_forward forward);		/* ipip gue l2 nat */
/* -EINVAL */
int gs_protocol_parse(const char *text, enum gs_protocol *ret_protocol);
int gs_policy_kind_parse(const char *text, enum gs_policy_kind *ret_kind);
int gs_probe_kind_parse(const char *text, enum gs_probe_kind *ret_kind);
int gs_forward_parse(const char *text, enum gs_forward *ret_forward);

/* Order of gs_snapshot.access: prefix, then service, that of every service (0) first. */
int gs_access_compare(const struct gs_access *a, const struct gs_access *b);

/* What an override is of: prefixes, then systems, then places. Two that compare equal are of one.
 */
int gs_override_compare(const struct gs_override *a, const struct gs_override *b);
/* Order of gs_snapshot.fences: place, then service, that of every service (0) first. */
int gs_fence_compare(const struct gs_fence *a, const struct gs_fence *b);

/* [a-z0-9][a-z0-9-]*, 1 to 63 characters */
bool gs_name_is_valid(const char *name);
/* Up to max_bytes of UTF-8 (RFC 3629) without control characters. */
bool gs_text_is_valid(const char *text, size_t max_bytes);
/*
 * One unicast address other machines can have: not unspecified, "this network", loopback,
 * multicast, reserved, broadcast or (IPv6) link-local.
 */
bool gs_addr_is_host(const struct gs_addr *addr);

/*
 * What the database's constraints say as well, checked again because rows and files are hostile:
 * sorted by id, ids in range, names, references, ports, coordinates, VIPs that are no backend's
 * address, families that L2 and NAT forwarding can serve, deadlines of drains only, a default order
 * that names each region at most once, access rules and fences sorted. 0 or -EINVAL, *error names
 * the place: "services[0].port: ...", counted in the snapshot's arrays. Needs 80 kB of stack.
 */
int gs_snapshot_check(const struct gs_snapshot *snapshot, struct gs_error *error);

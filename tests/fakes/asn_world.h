/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ASN database for a world, from a seed: prefixes in each other, around and inside those of the
 * world's overrides and GeoIP ranges. The plain prefixes it was made of stay beside it, for
 * oracles.
 */
#pragma once

#include "tests/fakes/world.h"
#include "user/core/asn.h"

enum { ASN_WORLD_PREFIXES = 80, ASN_WORLD_SYSTEMS = 6 };

struct asn_world {
	struct gs_asndata data;
	struct gs_prefix
		prefixes[ASN_WORLD_PREFIXES]; /* of several around an address the longest */
	uint32_t asns[ASN_WORLD_PREFIXES];
};

/* Systems 64500 to 64500 + ASN_WORLD_SYSTEMS - 1, and nobody's. Aborts if there is no memory. */
struct asn_world *asn_world_new(const struct world *world, uint64_t *seed);
void asn_world_free(struct asn_world *asn);

/* By looking at each prefix; 6to4 and NAT64 clients by the address inside. */
uint32_t asn_world_find(const struct asn_world *asn, const struct gs_addr *client);
/* In a prefix, at an edge of one or beside it. */
struct gs_addr asn_world_client(const struct asn_world *asn, uint64_t *seed);

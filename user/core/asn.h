/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose addresses are whose: one ASN database (autonomous systems by address), and the prefixes of
 * those systems that overrides name. Pure. Whoever makes an asndata (the geodb port) allocates it;
 * it is immutable then, so that the loop and the worker may read it at the same time.
 */
#pragma once

#include "geotable.h"
#include "types.h"

enum { GS_ASN_TEXT_MAX = 16 };

struct gs_asndata_family {
	/* Ascending, the first at 0; each reaches to the next one's start. IPv4: 32 bits in `low`.
	 */
	struct gs_geo_key *starts;
	uint32_t *asns; /* 0: nobody's, as far as is known */
	size_t start_count;
	uint64_t networks; /* of the file, aliases of the IPv4 tree not counted */
};

struct gs_asndata {
	char path[GS_PATH_MAX];
	char database_type[GS_NAME_MAX];
	uint64_t build_unix_s;
	uint64_t digest; /* of both families: equal digests, equal answers */
	uint64_t load_us;
	struct gs_asndata_family v4, v6;
};

/* "AS64500", "as64500"; 1 to 4294967295, no leading zeros. -EINVAL */
int gs_asn_parse(const char *text, uint32_t *ret_asn);
/* "AS64500"; writes to out and returns it. */
const char *gs_asn_format(uint32_t asn, char out[GS_ASN_TEXT_MAX]);

/* Of a client (6to4 and NAT64 by the address inside). 0: not known. */
uint32_t gs_asn_find(const struct gs_asndata *asndata, const struct gs_addr *addr);

/* An AS that is asked for. */
struct gs_asn_wanted {
	uint32_t asn;
	uint32_t owner; /* the caller's own */
};

struct gs_asn_prefix {
	struct gs_prefix prefix;
	uint32_t owner;
};

struct gs_asn_output {
	struct gs_asn_prefix *prefixes;
	uint32_t count, limit; /* appended behind `count`, up to `limit` */
};

/*
 * The prefixes of one family whose addresses are of these (sorted by asn, distinct), in address
 * order: the fewest that say so. IPv6 ones leave out what clients are not located by: 6to4, NAT64
 * and IPv4-mapped addresses. 0, or -EFBIG: more than there is room for, and *ret_at is the index in
 * `wanted` of the one that was being read.
 */
int gs_asn_prefixes(const struct gs_asndata *asndata, enum gs_geo_family family,
		    const struct gs_asn_wanted *wanted, uint32_t wanted_count,
		    struct gs_asn_output *output, uint32_t *ret_at);

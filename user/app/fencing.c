// SPDX-License-Identifier: Apache-2.0
#include "user/app/fencing.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/cidr.h"
#include "user/core/override.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- classes --------------------------------------------------------------------------------- */

/* The class of a set of fences, made if there is none yet; hint: one that is likely. */
static uint16_t find_or_add_class(struct gs_fencing *fencing, const struct gs_fence_set *set,
				  uint16_t hint)
{
	if (hint < fencing->class_count && memcmp(&fencing->classes[hint], set, sizeof(*set)) == 0)
		return hint;
	for (uint32_t c = 0; c < fencing->class_count; c++)
		if (memcmp(&fencing->classes[c], set, sizeof(*set)) == 0)
			return (uint16_t)c;
	fencing->classes[fencing->class_count] = *set;
	return (uint16_t)fencing->class_count++;
}

int gs_fencing_make(const struct gs_snapshot *snapshot, const struct gs_geodata *geo,
		    struct gs_fencing *ret_fencing)
{
	static const struct gs_location nowhere;
	uint32_t count = geo ? geo->location_count : 1;
	struct gs_fencing fencing = {0};
	uint16_t class = 0;

	/* No more classes than locations. */
	fencing.classes = calloc(snapshot->fence_count ? count + 1 : 1, sizeof(*fencing.classes));
	fencing.location_class = calloc(count + 1, sizeof(*fencing.location_class));
	if (!fencing.classes || !fencing.location_class) {
		gs_fencing_done(&fencing);
		return -ENOMEM;
	}
	fencing.class_count = snapshot->fence_count ? 0 : 1;
	for (uint32_t i = 0; i < count && snapshot->fence_count; i++) {
		struct gs_fence_set set =
			gs_fences_of_location(snapshot, geo && i ? &geo->locations[i] : &nowhere);

		class = find_or_add_class(&fencing, &set, class);
		fencing.location_class[i] = class;
	}
	*ret_fencing = fencing;
	return 0;
}

void gs_fencing_done(struct gs_fencing *fencing)
{
	free(fencing->classes);
	free(fencing->location_class);
	*fencing = (struct gs_fencing){0};
}

/* ---- runs: what class addresses are of ------------------------------------------------------- */

struct runs {
	struct gs_cut_run *runs;
	uint32_t count;
};

static bool is_before(struct gs_geo_key a, struct gs_geo_key b)
{
	return a.high < b.high || (a.high == b.high && a.low < b.low);
}

static void add_run(struct runs *runs, struct gs_geo_key start, uint16_t class)
{
	if (runs->count && runs->runs[runs->count - 1].class == class)
		return;
	runs->runs[runs->count++] = (struct gs_cut_run){start, class};
}

/* The family's own, of keys from `first` to before `end`. */
static void add_family(struct runs *runs, const struct gs_fencing *fencing,
		       const struct gs_geodata_family *family, struct gs_geo_key first,
		       const struct gs_geo_key *end)
{
	size_t low = 0, high = family->start_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (is_before(first, family->starts[middle]))
			high = middle;
		else
			low = middle;
	}
	for (size_t i = low; i < family->start_count; i++) {
		struct gs_geo_key start = i == low ? first : family->starts[i];

		if (end && !is_before(start, *end))
			break;
		add_run(runs, start, fencing->location_class[family->start_locations[i]]);
	}
}

/* IPv4's, as IPv6 addresses that have them inside: 6to4 and NAT64 clients are located by them. */
static void add_embedded(struct runs *runs, const struct runs *v4, bool is_6to4)
{
	for (uint32_t i = 0; i < v4->count; i++) {
		uint64_t inside = v4->runs[i].start.low;
		struct gs_geo_key start = {.high = 0x0064ff9bULL << 32, .low = inside};

		if (is_6to4)
			start = (struct gs_geo_key){.high = 0x2002ULL << 48 | inside << 16};
		add_run(runs, start, v4->runs[i].class);
	}
}

static void make_runs6(struct runs *runs, const struct runs *v4, const struct gs_fencing *fencing,
		       const struct gs_geodata_family *v6)
{
	static const struct gs_geo_key zero,
		nat64 = {.high = 0x0064ff9bULL << 32},
		after_nat64 = {.high = 0x0064ff9bULL << 32, .low = 1ULL << 32},
		to4 = {.high = 0x2002ULL << 48}, after_6to4 = {.high = 0x2003ULL << 48};

	add_family(runs, fencing, v6, zero, &nat64);
	add_embedded(runs, v4, false);
	add_family(runs, fencing, v6, after_nat64, &to4);
	add_embedded(runs, v4, true);
	add_family(runs, fencing, v6, after_6to4, NULL);
}

/* Both families'. Without fences, or a database, one run each: all are alike. */
static int make_runs(const struct gs_fencing *fencing, const struct gs_geodata *geo,
		     struct runs *ret_v4, struct runs *ret_v6)
{
	bool is_one = fencing->class_count == 1;
	size_t count4 = geo && !is_one ? geo->v4.start_count : 0;
	size_t count6 = geo && !is_one ? geo->v6.start_count : 0;
	static const struct gs_geo_key zero;

	ret_v4->runs = calloc(count4 + 2, sizeof(*ret_v4->runs));
	ret_v6->runs = calloc(count6 + 2 * count4 + 8, sizeof(*ret_v6->runs));
	if (!ret_v4->runs || !ret_v6->runs)
		return -ENOMEM;
	if (!geo || is_one) {
		add_run(ret_v4, zero, fencing->location_class[0]);
		add_run(ret_v6, zero, fencing->location_class[0]);
		return 0;
	}
	add_family(ret_v4, fencing, &geo->v4, zero, NULL);
	make_runs6(ret_v6, ret_v4, fencing, &geo->v6);
	return 0;
}

/* ---- whose prefixes -------------------------------------------------------------------------- */

struct owned {
	struct gs_prefix prefix;
	uint32_t owner;
	bool is_asn; /* its system's, not its own */
};

struct owned_list {
	struct owned *owned;
	uint32_t count;
};

/* Of one prefix the override's own comes first. */
static int compare_owned(const void *left, const void *right)
{
	const struct owned *a = left, *b = right;
	int order = gs_prefix_compare(&a->prefix, &b->prefix);

	return order ? order : (int)a->is_asn - (int)b->is_asn;
}

static int compare_wanted(const void *left, const void *right)
{
	const struct gs_asn_wanted *a = left, *b = right;

	return (a->asn > b->asn) - (a->asn < b->asn);
}

static void owned_done(struct owned_list *list)
{
	free(list->owned);
}

/* Room for `more` is kept behind them. */
static int take_prefixes(const struct gs_snapshot *snapshot, uint32_t more, struct owned_list *list)
{
	list->owned = calloc((size_t)snapshot->override_count + more + 1, sizeof(*list->owned));
	if (!list->owned)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->override_count; i++)
		if (gs_override_of(&snapshot->overrides[i]) == GS_OVERRIDE_OF_PREFIX)
			list->owned[list->count++] =
				(struct owned){.prefix = snapshot->overrides[i].prefix, .owner = i};
	return 0;
}

/* The systems that overrides name, sorted. *ret_count: how many. NULL: no memory. */
static struct gs_asn_wanted *want_systems(const struct gs_snapshot *snapshot, uint32_t *ret_count)
{
	struct gs_asn_wanted *wanted = calloc(snapshot->override_count + 1u, sizeof(*wanted));

	*ret_count = 0;
	for (uint32_t i = 0; wanted && i < snapshot->override_count; i++)
		if (gs_override_of(&snapshot->overrides[i]) == GS_OVERRIDE_OF_ASN)
			wanted[(*ret_count)++] = (struct gs_asn_wanted){
				.asn = snapshot->overrides[i].asn, .owner = i};
	if (wanted)
		qsort(wanted, *ret_count, sizeof(*wanted), compare_wanted);
	return wanted;
}

/* The systems' prefixes, up to `limit` of a family. */
static int read_systems(const struct gs_asndata *asn, const struct gs_asn_wanted *wanted,
			uint32_t wanted_count, uint32_t limit, struct gs_asn_output *output,
			struct gs_error *error)
{
	for (enum gs_geo_family family = GS_GEO_V4; family <= GS_GEO_V6; family++) {
		char text[GS_ASN_TEXT_MAX];
		uint32_t at = 0;

		output->limit = output->count + limit;
		if (gs_asn_prefixes(asn, family, wanted, wanted_count, output, &at) != 0)
			return gs_error_set(-EFBIG, error,
					    "override %s: it, and the systems of other overrides, "
					    "have more than %u IPv%d prefixes",
					    gs_asn_format(wanted[at].asn, text), limit,
					    family == GS_GEO_V4 ? 4 : 6);
	}
	return 0;
}

/* An override's own prefix beats a system's, whichever is longer: what is inside one goes. Sorted,
 * before and after. */
static void drop_covered(struct owned_list *list)
{
	const struct gs_prefix *around = NULL;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		struct owned *owned = &list->owned[i];
		bool is_inside = around && gs_prefix_contains(around, &owned->prefix.addr);

		if (owned->is_asn && is_inside)
			continue;
		list->owned[kept] = *owned;
		if (!owned->is_asn && !is_inside)
			around = &list->owned[kept].prefix;
		kept++;
	}
	list->count = kept;
}

/* Prefixes of overrides, and of the systems that overrides name, sorted. */
static int take_owned(const struct gs_snapshot *snapshot, const struct gs_asndata *asn,
		      uint32_t limit, struct owned_list *list, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_asn_wanted *wanted = NULL;
	GS_AUTO_FREE struct gs_asn_prefix *prefixes = NULL;
	struct gs_asn_output output = {.count = 0};
	uint32_t wanted_count = 0;
	int ret = 0;

	wanted = want_systems(snapshot, &wanted_count);
	if (!wanted)
		return -ENOMEM;
	if (asn && wanted_count) {
		prefixes = calloc(2 * (size_t)limit, sizeof(*prefixes));
		if (!prefixes)
			return -ENOMEM;
		output.prefixes = prefixes;
		ret = read_systems(asn, wanted, wanted_count, limit, &output, error);
	}
	if (!ret)
		ret = take_prefixes(snapshot, output.count, list);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < output.count; i++)
		list->owned[list->count++] = (struct owned){.prefix = output.prefixes[i].prefix,
							    .owner = output.prefixes[i].owner,
							    .is_asn = true};
	qsort(list->owned, list->count, sizeof(*list->owned), compare_owned);
	drop_covered(list);
	return 0;
}

/* ---- cutting --------------------------------------------------------------------------------- */

static int compare_pieces(const void *left, const void *right)
{
	const struct gs_cut_piece *a = left, *b = right;

	return gs_prefix_compare(&a->prefix, &b->prefix);
}

/* The prefixes of one family, sorted. */
static int cut_family(const struct gs_snapshot *snapshot, const struct owned *owned, uint32_t count,
		      const struct runs *runs, struct gs_cut_output *output, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_prefix *prefixes = calloc(count + 1u, sizeof(*prefixes));
	GS_AUTO_FREE uint32_t *scratch = calloc(count + 1u, sizeof(*scratch));
	uint32_t first = output->count, at = 0;
	char text[GS_OVERRIDE_TEXT_MAX];

	if (!prefixes || !scratch)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		prefixes[i] = owned[i].prefix;
	if (gs_cut(prefixes, count, scratch, runs->runs, runs->count, output, &at) != 0) {
		const struct gs_override *override = &snapshot->overrides[owned[at].owner];

		if (runs->count == 1)
			return gs_error_set(-EFBIG, error, "overrides: more than %u IPv%d prefixes",
					    output->limit - first, prefixes[at].is_v4 ? 4 : 6);
		return gs_error_set(-EFBIG, error,
				    "override %s: fences cut it, and those before it, into more "
				    "than %u IPv%d prefixes; override shorter ones, or fence "
				    "larger places",
				    gs_override_format(override, text), output->limit - first,
				    prefixes[at].is_v4 ? 4 : 6);
	}
	for (uint32_t i = first; i < output->count; i++)
		output->pieces[i].owner = owned[output->pieces[i].owner].owner;
	return 0;
}

static int cut_all(const struct gs_snapshot *snapshot, const struct owned_list *list,
		   uint32_t limit, const struct runs *runs4, const struct runs *runs6,
		   struct gs_cut_output *output, struct gs_error *error)
{
	const struct owned *owned = list->owned;
	uint32_t count = list->count, count4 = 0;
	int ret;

	while (count4 < count && owned[count4].prefix.is_v4)
		count4++;
	output->limit = limit;
	ret = cut_family(snapshot, owned, count4, runs4, output, error);
	output->limit = output->count + limit;
	return ret ? ret
		   : cut_family(snapshot, owned + count4, count - count4, runs6, output, error);
}

static void runs_done(struct runs *runs)
{
	free(runs->runs);
}

static int out_of_memory(struct gs_error *error)
{
	return gs_error_set(-ENOMEM, error, "overrides: out of memory");
}

int gs_fencing_cut(const struct gs_fencing *fencing, const struct gs_snapshot *snapshot,
		   const struct gs_geodata *geo, const struct gs_asndata *asn, uint32_t limit,
		   struct gs_cut_piece **ret_pieces, uint32_t *ret_count, struct gs_error *error)
{
	GS_CLEANUP(owned_done) struct owned_list list = {.count = 0};
	GS_CLEANUP(runs_done) struct runs runs4 = {0};
	GS_CLEANUP(runs_done) struct runs runs6 = {0};
	struct gs_cut_output output = {0};
	int ret = take_owned(snapshot, asn, limit, &list, error);

	if (ret)
		return ret == -ENOMEM ? out_of_memory(error) : ret;
	/* What is not cut has a piece each: no more than that is needed then. */
	output.pieces = calloc(fencing->class_count == 1 ? list.count + 1u : 2 * (size_t)limit + 1,
			       sizeof(*output.pieces));
	if (!output.pieces || (list.count && make_runs(fencing, geo, &runs4, &runs6) != 0)) {
		free(output.pieces);
		return out_of_memory(error);
	}
	ret = list.count ? cut_all(snapshot, &list, limit, &runs4, &runs6, &output, error) : 0;
	if (ret) {
		free(output.pieces);
		return ret == -ENOMEM ? out_of_memory(error) : ret;
	}
	qsort(output.pieces, output.count, sizeof(*output.pieces), compare_pieces);
	*ret_pieces = output.pieces;
	*ret_count = output.count;
	return 0;
}

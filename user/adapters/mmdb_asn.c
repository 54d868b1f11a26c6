// SPDX-License-Identifier: Apache-2.0
#include "mmdb_asn.h"

#include "mmdb_walk.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- records --------------------------------------------------------------------------------- */

/* A record that was read. Many networks have one. */
struct seen {
	uint32_t offset_plus_1; /* 0: an empty slot */
	uint32_t asn;
};

/* Open addressing, a power of two of slots, at most half full. */
struct reader {
	struct seen *seen;
	uint32_t count, mask;
};

/* Offsets of the file are not random; multiplied by an odd number their upper bits are enough so.
 */
static struct seen *find_slot(struct seen *seen, uint32_t mask, uint32_t offset)
{
	uint32_t at = (uint32_t)(offset * 0x9e3779b97f4a7c15ULL >> 32);

	for (;; at++) {
		struct seen *slot = &seen[at & mask];

		if (slot->offset_plus_1 == 0 || slot->offset_plus_1 == offset + 1)
			return slot;
	}
}

static int grow(struct reader *reader)
{
	uint32_t mask = reader->mask ? 2 * reader->mask + 1 : 1023;
	struct seen *seen = calloc((size_t)mask + 1, sizeof(*seen));

	if (!seen)
		return -ENOMEM;
	for (uint32_t i = 0; reader->seen && i <= reader->mask; i++)
		if (reader->seen[i].offset_plus_1)
			*find_slot(seen, mask, reader->seen[i].offset_plus_1 - 1) = reader->seen[i];
	free(reader->seen);
	reader->seen = seen;
	reader->mask = mask;
	return 0;
}

static int read_number(const MMDB_entry_data_s *value, const char *field, uint32_t *ret_asn,
		       struct gs_error *error)
{
	uint64_t number;

	switch (value->type) {
	case MMDB_DATA_TYPE_UINT16:
		number = value->uint16;
		break;
	case MMDB_DATA_TYPE_UINT32:
		number = value->uint32;
		break;
	case MMDB_DATA_TYPE_UINT64:
		number = value->uint64;
		break;
	case MMDB_DATA_TYPE_INT32:
		if (value->int32 < 0)
			return gs_mmdb_fail(-EINVAL, error, "%s is no AS number", field);
		number = (uint64_t)value->int32;
		break;
	default:
		return gs_mmdb_fail(-EINVAL, error, "%s is no number", field);
	}
	if (number > UINT32_MAX)
		return gs_mmdb_fail(-EINVAL, error, "%s is no AS number", field);
	*ret_asn = (uint32_t)number;
	return 0;
}

/* "AS64500", as flat databases write it; "" and "-" say nothing. */
static int read_text(const MMDB_entry_data_s *value, const char *field, uint32_t *ret_asn,
		     struct gs_error *error)
{
	char text[GS_ASN_TEXT_MAX];
	uint32_t asn;

	if (value->data_size == 0 || (value->data_size == 1 && value->utf8_string[0] == '-')) {
		*ret_asn = 0;
		return 0;
	}
	if (value->data_size < sizeof(text)) {
		memcpy(text, value->utf8_string, value->data_size);
		text[value->data_size] = '\0';
		if (memchr(text, '\0', value->data_size) == NULL && gs_asn_parse(text, &asn) == 0) {
			*ret_asn = asn;
			return 0;
		}
	}
	return gs_mmdb_fail(-EINVAL, error, "%s is text that is no AS number", field);
}

/* The first of these fields that is there. A record without any says nothing: 0. */
static int read_record(const MMDB_s *mmdb, uint32_t offset, uint32_t *ret_asn,
		       struct gs_error *error)
{
	static const struct {
		const char *name;
		const char *path[3];
	} fields[] = {
		{"autonomous_system_number", {"autonomous_system_number", NULL}},
		{"traits.autonomous_system_number", {"traits", "autonomous_system_number", NULL}},
		{"asn", {"asn", NULL}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		MMDB_entry_s record = {.mmdb = mmdb, .offset = offset};
		MMDB_entry_data_s value;
		int status = MMDB_aget_value(&record, &value, fields[i].path);

		if (status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
			continue;
		if (status != MMDB_SUCCESS)
			return gs_mmdb_fail(-EINVAL, error, "%s: %s", fields[i].name,
					    MMDB_strerror(status));
		if (value.type == MMDB_DATA_TYPE_UTF8_STRING)
			return read_text(&value, fields[i].name, ret_asn, error);
		return read_number(&value, fields[i].name, ret_asn, error);
	}
	*ret_asn = 0;
	return 0;
}

static int read_class(void *context, struct gs_mmdb_file *file, uint32_t offset,
		      uint32_t *ret_class, struct gs_error *error)
{
	struct reader *reader = context;
	struct seen *slot = find_slot(reader->seen, reader->mask, offset);
	uint32_t asn = 0;
	int err;

	if (slot->offset_plus_1) {
		*ret_class = slot->asn;
		return 0;
	}
	err = gs_mmdb_guard_check(&file->guard, &file->mmdb, offset, error);
	if (!err)
		err = read_record(&file->mmdb, offset, &asn, error);
	if (err)
		return err;
	*slot = (struct seen){.offset_plus_1 = offset + 1, .asn = asn};
	*ret_class = asn;
	return ++reader->count > reader->mask / 2 ? grow(reader) : 0;
}

/* ---- the database ---------------------------------------------------------------------------- */

static void free_family(struct gs_asndata_family *family)
{
	free(family->starts);
	free(family->asns);
}

void gs_mmdb_asn_free(struct gs_asndata *asn)
{
	if (!asn)
		return;
	free_family(&asn->v4);
	free_family(&asn->v6);
	free(asn);
}

/* The runs' arrays, cut to what they hold. */
static void take_runs(struct gs_mmdb_runs *runs, struct gs_asndata_family *family)
{
	struct gs_geo_key *starts;
	uint32_t *asns;

	family->start_count = runs->count;
	family->networks = runs->networks;
	family->starts = gs_take_ptr(runs->starts);
	family->asns = gs_take_ptr(runs->classes);
	starts = reallocarray(family->starts, runs->count, sizeof(*starts));
	if (starts)
		family->starts = starts;
	asns = reallocarray(family->asns, runs->count, sizeof(*asns));
	if (asns)
		family->asns = asns;
}

static uint64_t digest_family(uint64_t digest, const struct gs_asndata_family *family)
{
	digest = gs_mmdb_digest_bytes(digest, family->starts,
				      family->start_count * sizeof(*family->starts));
	return gs_mmdb_digest_bytes(digest, family->asns,
				    family->start_count * sizeof(*family->asns));
}

static bool names_nobody(const struct gs_mmdb_runs *runs)
{
	for (size_t i = 0; i < runs->count; i++)
		if (runs->classes[i])
			return false;
	return true;
}

static int read_file(struct gs_mmdb_walk *walk, struct gs_asndata **ret_asn)
{
	struct gs_asndata *asn;
	int err = gs_mmdb_walk(walk);

	if (err)
		return err;
	/* A GeoIP database, say: in force it would end every override of a system. */
	if (names_nobody(&walk->v4) && names_nobody(&walk->v6))
		return gs_mmdb_fail(-EINVAL, walk->error,
				    "no record has an autonomous_system_number");
	asn = calloc(1, sizeof(*asn));
	if (!asn)
		return gs_mmdb_fail_memory(walk->error);
	take_runs(&walk->v4, &asn->v4);
	take_runs(&walk->v6, &asn->v6);
	memcpy(asn->database_type, walk->file.database_type, sizeof(asn->database_type));
	asn->build_unix_s = walk->file.build_unix_s;
	asn->digest = digest_family(digest_family(1, &asn->v4), &asn->v6);
	*ret_asn = asn;
	return 0;
}

int gs_mmdb_asn_load(const char *path, struct gs_progress *progress, struct gs_asndata **ret_asn,
		     struct gs_error *error)
{
	struct reader reader = {.seen = NULL};
	struct gs_mmdb_walk walk = {
		.read = read_class, .context = &reader, .error = error, .progress = progress};
	int err = gs_mmdb_file_open(path, progress, &walk.file, error);

	if (!err && grow(&reader))
		err = gs_mmdb_fail_memory(error);
	if (!err)
		err = read_file(&walk, ret_asn);
	gs_mmdb_walk_done(&walk);
	free(reader.seen);
	return err;
}

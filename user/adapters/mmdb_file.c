// SPDX-License-Identifier: Apache-2.0
#include "mmdb_file.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

/* The specification's: where metadata may begin, counted from the end. */
#define METADATA_MAX ((size_t)128 * 1024)
#define SEPARATOR_BYTES 16u
/* Records and pointers have 32 bits at most. */
#define FILE_MAX ((uint64_t)4 << 30)
/* Country and city databases use five levels. */
#define DEPTH_MAX 32u

static const char marker[] = "\xab\xcd\xefMaxMind.com";
#define MARKER_BYTES (sizeof(marker) - 1)

static uint64_t read_be(const uint8_t *bytes, size_t count)
{
	uint64_t value = 0;

	for (size_t i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* ---- values --------------------------------------------------------------------------------- */

/* One value as written: a pointer is not followed, a container not entered. */
struct item {
	unsigned type;
	uint32_t size;	  /* bytes, pairs, elements; BOOL: the value */
	size_t content;	  /* offset behind the control bytes */
	uint64_t pointer; /* POINTER: offset it points to */
};

static bool is_container(unsigned type)
{
	return type == GS_MMDB_MAP || type == GS_MMDB_ARRAY;
}

/* Offset behind the item; of a container: of its content. */
static size_t item_end(const struct item *item)
{
	bool has_payload = item->type != GS_MMDB_POINTER && item->type != GS_MMDB_BOOL &&
			   !is_container(item->type);

	return item->content + (has_payload ? item->size : 0);
}

static const char *read_pointer(const struct gs_mmdb_section *section, uint8_t control,
				struct item *item)
{
	static const uint64_t bases[] = {0, 2048, 526336, 0};
	unsigned bytes = (control >> 3 & 3) + 1u;
	uint64_t high = bytes == 4 ? 0 : control & 7u;

	if (bytes > section->size - item->content)
		return "pointer is cut short";
	item->pointer = (high << 8 * bytes | read_be(section->bytes + item->content, bytes)) +
			bases[bytes - 1];
	item->content += bytes;
	if (item->pointer >= section->size)
		return "pointer points past the section's end";
	return NULL;
}

/* Sizes from 29 on continue in one to three bytes. */
static const char *read_size(const struct gs_mmdb_section *section, uint8_t control,
			     struct item *item)
{
	static const uint32_t bases[] = {29, 285, 65821};
	unsigned bytes;

	item->size = control & 31u;
	if (item->size < 29)
		return NULL;
	bytes = item->size - 28;
	if (bytes > section->size - item->content)
		return "size is cut short";
	item->size = bases[bytes - 1] + (uint32_t)read_be(section->bytes + item->content, bytes);
	item->content += bytes;
	return NULL;
}

/* Does the size fit the type, and the payload the section? */
static const char *check_size(const struct gs_mmdb_section *section, const struct item *item)
{
	static const uint8_t widest[16] = {
		[GS_MMDB_UINT16] = 2, [GS_MMDB_UINT32] = 4,   [GS_MMDB_INT32] = 4,
		[GS_MMDB_UINT64] = 8, [GS_MMDB_UINT128] = 16, [GS_MMDB_BOOL] = 1,
	};
	const size_t room = section->size - item->content;

	if (widest[item->type] && item->size > widest[item->type])
		return "number is wider than its type";
	if ((item->type == GS_MMDB_DOUBLE && item->size != 8) ||
	    (item->type == GS_MMDB_FLOAT && item->size != 4))
		return "floating-point number of a wrong width";
	if (item->type == GS_MMDB_BOOL)
		return NULL;
	if (item->size > (item->type == GS_MMDB_MAP ? room / 2 : room))
		return "value reaches past the section's end";
	return NULL;
}

/* NULL, or what is wrong. */
static const char *read_item(const struct gs_mmdb_section *section, size_t offset,
			     struct item *ret_item)
{
	struct item item = {.content = offset + 1};
	uint8_t control;
	const char *wrong;

	if (offset >= section->size)
		return "value begins past the section's end";
	control = section->bytes[offset];
	item.type = control >> 5;
	if (item.type == 0) {
		if (item.content >= section->size)
			return "type is cut short";
		item.type = 7u + section->bytes[item.content++];
		if (item.type <= GS_MMDB_MAP || item.type == 12 || item.type == 13 ||
		    item.type > GS_MMDB_FLOAT)
			return "type is unknown";
	}
	if (item.type == GS_MMDB_POINTER) {
		wrong = read_pointer(section, control, &item);
	} else {
		wrong = read_size(section, control, &item);
		if (!wrong)
			wrong = check_size(section, &item);
	}
	if (!wrong)
		*ret_item = item;
	return wrong;
}

struct checker {
	const struct gs_mmdb_section *section;
	uint8_t *checked; /* may be NULL */
	uint64_t *budget;
	struct gs_error *error;
};

static int check_value(struct checker *checker, size_t offset, unsigned depth, size_t *ret_after);

static int check_key(struct checker *checker, size_t offset, size_t *ret_after)
{
	struct item item, target;
	const char *wrong = read_item(checker->section, offset, &item);

	if (!wrong) {
		target = item;
		if (item.type == GS_MMDB_POINTER)
			wrong = read_item(checker->section, item.pointer, &target);
	}
	if (!wrong && target.type != GS_MMDB_TEXT)
		wrong = "key of a map is no text";
	if (wrong)
		return gs_mmdb_fail(-EINVAL, checker->error, "offset %zu: %s", offset, wrong);
	*ret_after = item_end(&item);
	return 0;
}

static int check_target(struct checker *checker, size_t from, size_t target, unsigned depth)
{
	struct item item;
	size_t after;
	int err;

	if (checker->checked && checker->checked[target / 8] >> (target % 8) & 1)
		return 0;
	if (!read_item(checker->section, target, &item) && item.type == GS_MMDB_POINTER)
		return gs_mmdb_fail(-EINVAL, checker->error, "offset %zu: pointer to a pointer",
				    from);
	err = check_value(checker, target, depth + 1, &after);
	if (!err && checker->checked)
		checker->checked[target / 8] |= (uint8_t)(1u << (target % 8));
	return err;
}

/*
 * A value and all below it. Recursion ends at DEPTH_MAX, which also catches pointers in a circle;
 * the budget ends files whose records overlap so that looking at all of them would take ages.
 */
static int check_value(struct checker *checker, size_t offset, unsigned depth, size_t *ret_after)
{
	struct item item;
	const char *wrong = read_item(checker->section, offset, &item);
	size_t after;
	int err = 0;

	if (!wrong && depth > DEPTH_MAX)
		wrong = "values are nested too deeply, or in a circle";
	if (!wrong && (*checker->budget)-- == 0) {
		*checker->budget = 0;
		wrong = "values overlap: the file is made up to keep its reader busy";
	}
	if (wrong)
		return gs_mmdb_fail(-EINVAL, checker->error, "offset %zu: %s", offset, wrong);
	after = item_end(&item);
	if (item.type == GS_MMDB_POINTER)
		err = check_target(checker, offset, item.pointer, depth);
	for (uint32_t i = 0; !err && is_container(item.type) && i < item.size; i++) {
		if (item.type == GS_MMDB_MAP)
			err = check_key(checker, after, &after);
		if (!err)
			err = check_value(checker, after, depth + 1, &after);
	}
	if (!err)
		*ret_after = after;
	return err;
}

int gs_mmdb_file_check(struct gs_mmdb_file *file, size_t offset, struct gs_error *error)
{
	struct checker checker = {&file->data, file->checked, &file->budget, error};
	size_t after;

	return check_value(&checker, offset, 0, &after);
}

static double read_real(const uint8_t *bytes, size_t count)
{
	uint64_t bits = read_be(bytes, count);
	uint32_t bits32 = (uint32_t)bits;
	double real;
	float real32;

	if (count == sizeof(real32)) {
		memcpy(&real32, &bits32, sizeof(real32));
		return real32;
	}
	memcpy(&real, &bits, sizeof(real));
	return real;
}

struct gs_mmdb_value gs_mmdb_value_at(const struct gs_mmdb_section *section, size_t offset)
{
	struct gs_mmdb_value value = {.type = GS_MMDB_BOOL};
	struct item item;

	if (read_item(section, offset, &item))
		return value;
	if (item.type == GS_MMDB_POINTER && read_item(section, item.pointer, &item))
		return value;
	value.type = (enum gs_mmdb_type)item.type;
	value.count = item.size;
	value.content = item.content;
	if (item.type == GS_MMDB_TEXT || item.type == GS_MMDB_BYTES)
		value.text = (const char *)section->bytes + item.content;
	else if (item.type == GS_MMDB_DOUBLE || item.type == GS_MMDB_FLOAT)
		value.real = read_real(section->bytes + item.content, item.size);
	else if (item.type == GS_MMDB_BOOL)
		value.number = item.size;
	else if (!is_container(item.type) && item.size <= sizeof(uint64_t))
		value.number = read_be(section->bytes + item.content, item.size);
	if (item.type == GS_MMDB_INT32)
		value.number = (uint64_t)(int64_t)(int32_t)(uint32_t)value.number;
	return value;
}

size_t gs_mmdb_value_after(const struct gs_mmdb_section *section, size_t offset)
{
	struct item item;
	size_t after;
	uint64_t parts;

	if (read_item(section, offset, &item))
		return section->size;
	after = item_end(&item);
	if (!is_container(item.type))
		return after;
	parts = item.type == GS_MMDB_MAP ? 2ull * item.size : item.size;
	for (uint64_t i = 0; i < parts && after < section->size; i++)
		after = gs_mmdb_value_after(section, after);
	return after;
}

bool gs_mmdb_map_find(const struct gs_mmdb_section *section, const struct gs_mmdb_value *map,
		      const char *key, struct gs_mmdb_value *ret_value)
{
	const size_t length = strlen(key);
	size_t offset = map->content;

	if (map->type != GS_MMDB_MAP)
		return false;
	for (uint32_t i = 0; i < map->count; i++) {
		struct gs_mmdb_value name = gs_mmdb_value_at(section, offset);

		offset = gs_mmdb_value_after(section, offset);
		if (name.type == GS_MMDB_TEXT && name.count == length &&
		    memcmp(name.text, key, length) == 0) {
			*ret_value = gs_mmdb_value_at(section, offset);
			return true;
		}
		offset = gs_mmdb_value_after(section, offset);
	}
	return false;
}

/* ---- tree ----------------------------------------------------------------------------------- */

uint32_t gs_mmdb_file_record(const struct gs_mmdb_file *file, uint32_t node, unsigned side)
{
	const uint8_t *bytes = file->bytes + (uint64_t)node * file->record_bits / 4;

	switch (file->record_bits) {
	case 24:
		return (uint32_t)read_be(bytes + (side ? 3 : 0), 3);
	case 28:
		/* The middle byte holds the highest four bits of both. */
		return side ? (uint32_t)(bytes[3] & 15u) << 24 | (uint32_t)read_be(bytes + 4, 3)
			    : (uint32_t)(bytes[3] >> 4) << 24 | (uint32_t)read_be(bytes, 3);
	default:
		return (uint32_t)read_be(bytes + (side ? 4 : 0), 4);
	}
}

bool gs_mmdb_file_data_offset(const struct gs_mmdb_file *file, uint32_t record, size_t *ret_offset)
{
	uint64_t offset = (uint64_t)record - file->node_count;

	if (offset < SEPARATOR_BYTES || offset - SEPARATOR_BYTES >= file->data.size)
		return false;
	*ret_offset = offset - SEPARATOR_BYTES;
	return true;
}

/* ---- file ----------------------------------------------------------------------------------- */

static int fail_errno(struct gs_error *error, const char *what)
{
	int err = errno > 0 ? errno : EIO;

	return gs_mmdb_fail(-err, error, "%s: %s", what, strerror(err));
}

static int check_kind(const struct stat *st, struct gs_error *error)
{
	if (S_ISDIR(st->st_mode))
		return gs_mmdb_fail(-EINVAL, error, "is a directory");
	if (!S_ISREG(st->st_mode))
		return gs_mmdb_fail(-EINVAL, error, "is no regular file");
	if (st->st_size == 0)
		return gs_mmdb_fail(-EINVAL, error, "file is empty");
	if ((uint64_t)st->st_size > FILE_MAX)
		return gs_mmdb_fail(-EINVAL, error,
				    "file is larger than the format can address (4 GiB)");
	return 0;
}

static bool is_same_content(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int read_bytes(const char *path, struct gs_mmdb_file *file, struct gs_error *error)
{
	GS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	GS_AUTO_FREE uint8_t *bytes = NULL;
	struct stat before, after;
	size_t used = 0;
	int err;

	if (fd < 0)
		return fail_errno(error, "cannot open");
	if (fstat(fd, &before) < 0)
		return fail_errno(error, "cannot stat");
	err = check_kind(&before, error);
	if (err)
		return err;
	bytes = malloc((size_t)before.st_size);
	if (!bytes)
		return gs_mmdb_fail(-ENOMEM, error, "no memory for %lld bytes",
				    (long long)before.st_size);
	while (used < (size_t)before.st_size) {
		ssize_t got = read(fd, bytes + used, (size_t)before.st_size - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(error, "cannot read");
		if (got == 0)
			return gs_mmdb_fail(-EINVAL, error,
					    "file became shorter while it was read");
		used += (size_t)got;
	}
	if (fstat(fd, &after) < 0 || !is_same_content(&before, &after))
		return gs_mmdb_fail(-EINVAL, error, "file was written to while it was read");
	file->size = used;
	file->bytes = gs_take_ptr(bytes);
	return 0;
}

/* The last one counts. */
static bool find_marker(const struct gs_mmdb_file *file, size_t *ret_offset)
{
	const size_t first = file->size > METADATA_MAX ? file->size - METADATA_MAX : 0;

	if (file->size < MARKER_BYTES)
		return false;
	for (size_t at = file->size - MARKER_BYTES + 1; at-- > first;)
		if (memcmp(file->bytes + at, marker, MARKER_BYTES) == 0) {
			*ret_offset = at;
			return true;
		}
	return false;
}

static int metadata_number(const struct gs_mmdb_section *section, const struct gs_mmdb_value *map,
			   const char *key, uint64_t *ret_number, struct gs_error *error)
{
	struct gs_mmdb_value value;

	if (!gs_mmdb_map_find(section, map, key, &value))
		return gs_mmdb_fail(-EINVAL, error, "metadata: no %s", key);
	if (value.type != GS_MMDB_UINT16 && value.type != GS_MMDB_UINT32 &&
	    value.type != GS_MMDB_UINT64)
		return gs_mmdb_fail(-EINVAL, error, "metadata: %s is no unsigned number", key);
	*ret_number = value.number;
	return 0;
}

static int metadata_type(const struct gs_mmdb_section *section, const struct gs_mmdb_value *map,
			 struct gs_mmdb_file *file, struct gs_error *error)
{
	struct gs_mmdb_value value;
	size_t length;

	if (!gs_mmdb_map_find(section, map, "database_type", &value))
		return gs_mmdb_fail(-EINVAL, error, "metadata: no database_type");
	if (value.type != GS_MMDB_TEXT)
		return gs_mmdb_fail(-EINVAL, error, "metadata: database_type is no text");
	length = value.count < GS_NAME_MAX - 1u ? value.count : GS_NAME_MAX - 1u;
	for (size_t i = 0; i < length; i++) {
		char c = value.text[i];

		file->database_type[i] = c >= 0x20 && c < 0x7f ? c : '?';
	}
	file->database_type[length] = '\0';
	return 0;
}

static int check_numbers(uint64_t major, uint64_t nodes, uint64_t bits, uint64_t version,
			 struct gs_error *error)
{
	if (major != 2)
		return gs_mmdb_fail(-EINVAL, error, "metadata: format version %llu, not 2",
				    (unsigned long long)major);
	if (nodes > UINT32_MAX)
		return gs_mmdb_fail(-EINVAL, error, "metadata: node_count %llu is out of range",
				    (unsigned long long)nodes);
	if (bits != 24 && bits != 28 && bits != 32)
		return gs_mmdb_fail(-EINVAL, error, "metadata: record_size %llu, not 24, 28 or 32",
				    (unsigned long long)bits);
	if (version != 4 && version != 6)
		return gs_mmdb_fail(-EINVAL, error, "metadata: ip_version %llu, not 4 or 6",
				    (unsigned long long)version);
	return 0;
}

static int read_metadata(struct gs_mmdb_file *file, const struct gs_mmdb_section *section,
			 struct gs_error *error)
{
	uint64_t major = 0, nodes = 0, bits = 0, version = 0, budget = METADATA_MAX;
	struct checker checker = {section, NULL, &budget, error};
	struct gs_error inner;
	struct gs_mmdb_value map;
	size_t after;
	int err;

	checker.error = &inner;
	if (check_value(&checker, 0, 0, &after))
		return gs_mmdb_fail(-EINVAL, error, "metadata: %.200s", inner.text);
	map = gs_mmdb_value_at(section, 0);
	if (map.type != GS_MMDB_MAP)
		return gs_mmdb_fail(-EINVAL, error, "metadata is no map");
	if ((err = metadata_number(section, &map, "binary_format_major_version", &major, error)) ||
	    (err = metadata_number(section, &map, "node_count", &nodes, error)) ||
	    (err = metadata_number(section, &map, "record_size", &bits, error)) ||
	    (err = metadata_number(section, &map, "ip_version", &version, error)) ||
	    (err = metadata_number(section, &map, "build_epoch", &file->build_unix_s, error)) ||
	    (err = metadata_type(section, &map, file, error)) ||
	    (err = check_numbers(major, nodes, bits, version, error)))
		return err;
	file->node_count = (uint32_t)nodes;
	file->record_bits = (uint32_t)bits;
	file->ip_version = (uint32_t)version;
	return 0;
}

static int read_frame(struct gs_mmdb_file *file, struct gs_error *error)
{
	static const uint8_t zeros[SEPARATOR_BYTES];
	struct gs_mmdb_section metadata;
	uint64_t tree_bytes;
	size_t at;
	int err;

	if (!find_marker(file, &at))
		return gs_mmdb_fail(-EINVAL, error,
				    "no MaxMind metadata in its last %zu kB: not an mmdb "
				    "file, or cut short",
				    METADATA_MAX / 1024);
	metadata.bytes = file->bytes + at + MARKER_BYTES;
	metadata.size = file->size - at - MARKER_BYTES;
	err = read_metadata(file, &metadata, error);
	if (err)
		return err;

	tree_bytes = (uint64_t)file->node_count * file->record_bits / 4;
	if (tree_bytes + SEPARATOR_BYTES > at)
		return gs_mmdb_fail(-EINVAL, error,
				    "a tree of %u nodes of 2 x %u bits does not fit into the "
				    "%zu bytes before the metadata: cut short, or node_count "
				    "is wrong",
				    file->node_count, file->record_bits, at);
	if (memcmp(file->bytes + tree_bytes, zeros, sizeof(zeros)) != 0)
		return gs_mmdb_fail(-EINVAL, error,
				    "no 16 zero bytes behind the tree's %u nodes: node_count "
				    "is wrong, or bytes are missing",
				    file->node_count);
	file->data.bytes = file->bytes + tree_bytes + SEPARATOR_BYTES;
	file->data.size = at - tree_bytes - SEPARATOR_BYTES;
	file->budget = 4 * (uint64_t)file->data.size + 1000;
	file->checked = calloc(file->data.size / 8 + 1, 1);
	if (!file->checked)
		return gs_mmdb_fail(-ENOMEM, error, "no memory");
	return 0;
}

int gs_mmdb_file_open(const char *path, struct gs_mmdb_file *ret_file, struct gs_error *error)
{
	struct gs_mmdb_file file = {0};
	int err;

	err = read_bytes(path, &file, error);
	if (err)
		return err;
	err = read_frame(&file, error);
	if (err) {
		gs_mmdb_file_close(&file);
		return err;
	}
	*ret_file = file;
	return 0;
}

void gs_mmdb_file_close(struct gs_mmdb_file *file)
{
	free(file->bytes);
	free(file->checked);
	memset(file, 0, sizeof(*file));
}

// SPDX-License-Identifier: Apache-2.0
#include "mmdb_file.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* The specification's: where metadata may begin, counted from the end. */
#define METADATA_MAX ((size_t)128 * 1024)
#define SEPARATOR_BYTES 16u
/* The library assumes that a section has as many. */
#define SECTION_MIN 3u
/* At once, so that a slow disk shows how far it is. */
#define COPY_BYTES ((size_t)4 << 20)

static const char marker[] = "\xab\xcd\xefMaxMind.com";
#define MARKER_BYTES (sizeof(marker) - 1)

static int fail_errno(struct gs_error *error, const char *what)
{
	int err = errno > 0 ? errno : EIO;

	return gs_mmdb_fail(-err, error, "%s: %s", what, strerror(err));
}

/* ---- copy ----------------------------------------------------------------------------------- */

static int check_kind(const struct stat *st, struct gs_error *error)
{
	if (S_ISDIR(st->st_mode))
		return gs_mmdb_fail(-EINVAL, error, "is a directory");
	if (!S_ISREG(st->st_mode))
		return gs_mmdb_fail(-EINVAL, error, "is no regular file");
	if (st->st_size == 0)
		return gs_mmdb_fail(-EINVAL, error, "file is empty");
	/* Records and pointers have 32 bits at most, and so has the library's arithmetic. */
	if ((uint64_t)st->st_size > UINT32_MAX)
		return gs_mmdb_fail(-EINVAL, error,
				    "file is larger than the format can address (4 GiB)");
	return 0;
}

static bool is_same_content(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int copy_bytes(int from, int to, size_t size, struct gs_progress *progress,
		      struct gs_error *error)
{
	const size_t all = size;

	gs_progress_size(progress, all);
	gs_progress_begin(progress, GS_PHASE_READING, all);
	while (size > 0) {
		ssize_t copied = sendfile(to, from, NULL, size < COPY_BYTES ? size : COPY_BYTES);

		if (copied < 0 && errno == EINTR)
			continue;
		if (copied < 0)
			return fail_errno(error, "cannot copy it into memory");
		if (copied == 0)
			return gs_mmdb_fail(-EINVAL, error,
					    "file became shorter while it was read");
		size -= (size_t)copied;
		if (gs_progress_at(progress, all - size))
			return gs_mmdb_fail(-ECANCELED, error, "cancelled");
	}
	return 0;
}

/*
 * *ret_fd: memory with the file's bytes, sealed. The library maps what it opens: whoever shortened
 * a mapped file would end this process by SIGBUS.
 */
static int copy_file(const char *path, struct gs_progress *progress, int *ret_fd, size_t *ret_size,
		     struct gs_error *error)
{
	GS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	GS_AUTO_CLOSE int copy = -1;
	struct stat before, after;
	int err;

	if (fd < 0)
		return fail_errno(error, "cannot open");
	if (fstat(fd, &before) < 0)
		return fail_errno(error, "cannot stat");
	err = check_kind(&before, error);
	if (err)
		return err;
	copy = memfd_create("geoip", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return fail_errno(error, "cannot copy it into memory");
	err = copy_bytes(fd, copy, (size_t)before.st_size, progress, error);
	if (err)
		return err;
	if (fstat(fd, &after) < 0 || !is_same_content(&before, &after))
		return gs_mmdb_fail(-EINVAL, error, "file was written to while it was read");
	if (fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return fail_errno(error, "cannot seal its copy");
	*ret_size = (size_t)before.st_size;
	*ret_fd = gs_take_fd(copy);
	return 0;
}

/* ---- metadata ------------------------------------------------------------------------------- */

enum key {
	KEY_MAJOR,
	KEY_MINOR,
	KEY_NODE_COUNT,
	KEY_RECORD_SIZE,
	KEY_IP_VERSION,
	KEY_BUILD_EPOCH,
	KEY_DATABASE_TYPE,
	KEY_LANGUAGES,
	KEY_DESCRIPTION,
	KEY__COUNT,
};

/* What the library insists on; it does not say which one it missed. */
static const struct {
	const char *name;
	uint32_t type;
	const char *type_name;
} keys[KEY__COUNT] = {
	[KEY_MAJOR] = {"binary_format_major_version", MMDB_DATA_TYPE_UINT16, "uint16"},
	[KEY_MINOR] = {"binary_format_minor_version", MMDB_DATA_TYPE_UINT16, "uint16"},
	[KEY_NODE_COUNT] = {"node_count", MMDB_DATA_TYPE_UINT32, "uint32"},
	[KEY_RECORD_SIZE] = {"record_size", MMDB_DATA_TYPE_UINT16, "uint16"},
	[KEY_IP_VERSION] = {"ip_version", MMDB_DATA_TYPE_UINT16, "uint16"},
	[KEY_BUILD_EPOCH] = {"build_epoch", MMDB_DATA_TYPE_UINT64, "uint64"},
	[KEY_DATABASE_TYPE] = {"database_type", MMDB_DATA_TYPE_UTF8_STRING, "text"},
	[KEY_LANGUAGES] = {"languages", MMDB_DATA_TYPE_ARRAY, "array of texts"},
	[KEY_DESCRIPTION] = {"description", MMDB_DATA_TYPE_MAP, "map of texts"},
};

/* 1, 0 or -ENOMEM. 1.7.1 leaks memory when it meets anything else in there. */
static int holds_texts(const MMDB_s *metadata, const MMDB_entry_data_s *container)
{
	MMDB_entry_s entry = {.mmdb = metadata, .offset = container->offset};
	MMDB_entry_data_list_s *list = NULL;
	int status = MMDB_get_entry_data_list(&entry, &list);
	int result = status == MMDB_OUT_OF_MEMORY_ERROR ? -ENOMEM : status == MMDB_SUCCESS;

	for (const MMDB_entry_data_list_s *at = list; result > 0 && at->next; at = at->next)
		result = at->next->entry_data.type == MMDB_DATA_TYPE_UTF8_STRING;
	MMDB_free_entry_data_list(list);
	return result;
}

static int read_metadata(const MMDB_s *metadata, MMDB_entry_data_s values[KEY__COUNT],
			 struct gs_error *error)
{
	struct gs_mmdb_guard guard = {.budget = METADATA_MAX};
	MMDB_entry_s entry = {.mmdb = metadata};
	struct gs_error inner;

	if (gs_mmdb_guard_check(&guard, metadata, 0, &inner))
		return gs_mmdb_fail(-EINVAL, error, "metadata: %.200s", inner.text);
	for (int key = 0; key < KEY__COUNT; key++) {
		const char *const path[] = {keys[key].name, NULL};
		int fits;

		if (MMDB_aget_value(&entry, &values[key], path) != MMDB_SUCCESS)
			return gs_mmdb_fail(-EINVAL, error, "metadata: no %s", keys[key].name);
		fits = values[key].type == keys[key].type;
		if (fits && (key == KEY_LANGUAGES || key == KEY_DESCRIPTION))
			fits = holds_texts(metadata, &values[key]);
		if (fits < 0)
			return gs_mmdb_fail(fits, error, "no memory");
		if (!fits)
			return gs_mmdb_fail(-EINVAL, error, "metadata: %s is no %s", keys[key].name,
					    keys[key].type_name);
	}
	return 0;
}

/* `room`: bytes before the metadata. In 64 bits: the library multiplies in 32. */
static int check_numbers(const MMDB_entry_data_s values[KEY__COUNT], size_t room,
			 struct gs_error *error)
{
	const uint32_t major = values[KEY_MAJOR].uint16, bits = values[KEY_RECORD_SIZE].uint16,
		       version = values[KEY_IP_VERSION].uint16,
		       nodes = values[KEY_NODE_COUNT].uint32;

	if (major != 2)
		return gs_mmdb_fail(-EINVAL, error, "metadata: format version %u, not 2", major);
	if (bits != 24 && bits != 28 && bits != 32)
		return gs_mmdb_fail(-EINVAL, error, "metadata: record_size %u, not 24, 28 or 32",
				    bits);
	if (version != 4 && version != 6)
		return gs_mmdb_fail(-EINVAL, error, "metadata: ip_version %u, not 4 or 6", version);
	if (nodes == 0)
		return gs_mmdb_fail(-EINVAL, error,
				    "database holds no networks: its tree has no nodes");
	if ((uint64_t)nodes * bits / 4 + SEPARATOR_BYTES > room)
		return gs_mmdb_fail(-EINVAL, error,
				    "a tree of %u nodes of 2 x %u bits does not fit into the "
				    "%zu bytes before the metadata: cut short, or node_count "
				    "is wrong",
				    nodes, bits, room);
	return 0;
}

/* All that the library reads while it opens the file. *ret_room: bytes before the metadata. */
static int check_frame(int fd, size_t size, size_t *ret_room, struct gs_error *error)
{
	const size_t tail_size = size < METADATA_MAX ? size : METADATA_MAX;
	GS_AUTO_FREE uint8_t *tail = malloc(METADATA_MAX);
	const uint8_t *last = NULL, *end;
	MMDB_entry_data_s values[KEY__COUNT];
	MMDB_s metadata = {0};
	int err;

	if (!tail)
		return gs_mmdb_fail(-ENOMEM, error, "no memory");
	end = tail + tail_size;
	if (pread(fd, tail, tail_size, (off_t)(size - tail_size)) != (ssize_t)tail_size)
		return fail_errno(error, "cannot read its copy");
	/* The last one counts. */
	for (const uint8_t *at = tail; (at = memmem(at, (size_t)(end - at), marker, MARKER_BYTES));
	     at += MARKER_BYTES)
		last = at;
	if (!last)
		return gs_mmdb_fail(-EINVAL, error,
				    "no MaxMind metadata in its last %zu kB: not an mmdb "
				    "file, or cut short",
				    METADATA_MAX / 1024);
	metadata.data_section = last + MARKER_BYTES;
	metadata.data_section_size = (uint32_t)(end - metadata.data_section);
	if (metadata.data_section_size < SECTION_MIN)
		return gs_mmdb_fail(-EINVAL, error, "metadata: cut short");
	*ret_room = size - (size_t)(end - last);
	err = read_metadata(&metadata, values, error);
	return err ? err : check_numbers(values, *ret_room, error);
}

/* ---- file ----------------------------------------------------------------------------------- */

static int open_copy(int fd, MMDB_s *mmdb, struct gs_error *error)
{
	char path[32];
	int status;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	status = MMDB_open(path, MMDB_MODE_MMAP, mmdb);
	if (status == MMDB_OUT_OF_MEMORY_ERROR)
		return gs_mmdb_fail(-ENOMEM, error, "no memory");
	if (status == MMDB_FILE_OPEN_ERROR || status == MMDB_IO_ERROR)
		return fail_errno(error, "cannot open its copy");
	if (status != MMDB_SUCCESS)
		return gs_mmdb_fail(-EINVAL, error, "libmaxminddb: %s", MMDB_strerror(status));
	return 0;
}

static void copy_type(const char *text, char type[GS_NAME_MAX])
{
	size_t i;

	for (i = 0; text[i] && i < GS_NAME_MAX - 1u; i++)
		type[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	type[i] = '\0';
}

/* The data section as the format has it. */
static int set_section(struct gs_mmdb_file *file, size_t room, struct gs_error *error)
{
	static const uint8_t zeros[SEPARATOR_BYTES];
	MMDB_s *mmdb = &file->mmdb;
	size_t begin = (size_t)(mmdb->data_section - mmdb->file_content);

	if (memcmp(mmdb->data_section - SEPARATOR_BYTES, zeros, sizeof(zeros)) != 0)
		return gs_mmdb_fail(-EINVAL, error,
				    "no 16 zero bytes behind the tree's %u nodes: node_count "
				    "is wrong, or bytes are missing",
				    mmdb->metadata.node_count);
	/* The metadata behind it is longer than SECTION_MIN. */
	mmdb->data_section_size =
		room - begin < SECTION_MIN ? SECTION_MIN : (uint32_t)(room - begin);
	file->guard.checked = calloc(mmdb->data_section_size / 8 + 1, 1);
	if (!file->guard.checked)
		return gs_mmdb_fail(-ENOMEM, error, "no memory");
	/* Sound files need one look at each value, and a value has a byte at least. */
	file->guard.budget = 4 * (uint64_t)mmdb->data_section_size + 1000;
	file->build_unix_s = mmdb->metadata.build_epoch;
	copy_type(mmdb->metadata.database_type, file->database_type);
	return 0;
}

int gs_mmdb_file_open(const char *path, struct gs_progress *progress, struct gs_mmdb_file *ret_file,
		      struct gs_error *error)
{
	GS_CLEANUP(gs_mmdb_file_close) struct gs_mmdb_file file = {0};
	GS_AUTO_CLOSE int copy = -1;
	size_t size = 0, room = 0;
	int err;

	if ((err = copy_file(path, progress, &copy, &size, error)) ||
	    (err = check_frame(copy, size, &room, error)) ||
	    (err = open_copy(copy, &file.mmdb, error)) || (err = set_section(&file, room, error)))
		return err;
	*ret_file = file;
	memset(&file, 0, sizeof(file));
	return 0;
}

void gs_mmdb_file_close(struct gs_mmdb_file *file)
{
	free(gs_take_ptr(file->guard.checked));
	/* NULL after a failed MMDB_open and after MMDB_close. */
	if (file->mmdb.filename)
		MMDB_close(&file->mmdb);
}

bool gs_mmdb_file_data_offset(const struct gs_mmdb_file *file, uint32_t record,
			      uint32_t *ret_offset)
{
	/* The library's own offset of a record in the gap wraps around. */
	uint32_t offset = record - file->mmdb.metadata.node_count;

	if (offset < SEPARATOR_BYTES || offset - SEPARATOR_BYTES >= file->mmdb.data_section_size)
		return false;
	*ret_offset = offset - SEPARATOR_BYTES;
	return true;
}

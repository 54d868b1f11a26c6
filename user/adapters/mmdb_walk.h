/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of one mmdb file, walked once, in address order, into runs: addresses of one class, by
 * what the file's reader makes of their record. Only the mmdb adapter uses it.
 */
#pragma once

#include "mmdb_file.h"
#include "user/core/geotable.h"

/* As they are found; the first starts at 0; neighbours are of different classes. */
struct gs_mmdb_runs {
	struct gs_geo_key *starts;
	uint32_t *classes; /* 0: nothing is said */
	size_t count, room;
	uint64_t networks;
};

/*
 * The class of the record at a data offset; asked for once a network, so it had better remember.
 * -EINVAL (*error), -ENOMEM.
 */
typedef int gs_mmdb_read(void *context, struct gs_mmdb_file *file, uint32_t offset,
			 uint32_t *ret_class, struct gs_error *error);

struct gs_mmdb_walk {
	struct gs_mmdb_file file; /* open */
	gs_mmdb_read *read;
	void *context;
	struct gs_error *error;
	struct gs_progress *progress; /* NULL: nobody asks */
	uint64_t visited;	      /* nodes, in both walks */
	struct gs_mmdb_runs v4, v6;
};

/* Both families. 0, -EINVAL (*error says what is wrong and where), -ENOMEM. */
int gs_mmdb_walk(struct gs_mmdb_walk *walk);
/* The file is closed, runs are freed. */
void gs_mmdb_walk_done(struct gs_mmdb_walk *walk);
/* For large arrays, with huge pages where there are some; free(). NULL: no memory. */
void *gs_mmdb_alloc(size_t size);
/* -ECANCELED, and says so, if nobody wants the rest. */
int gs_mmdb_progress(struct gs_mmdb_walk *walk, uint64_t done);
/* -ENOMEM and says so. */
int gs_mmdb_fail_memory(struct gs_error *error);

/* One more word, or more bytes, in a digest. The same constants as the packet path's hash, but
 * nobody compares the two. */
uint64_t gs_mmdb_digest_step(uint64_t digest, uint64_t word);
uint64_t gs_mmdb_digest_bytes(uint64_t digest, const void *bytes, size_t size);

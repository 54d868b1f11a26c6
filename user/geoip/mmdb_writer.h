/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes files in the MaxMind DB format, version 2.0 (maxmind.github.io/MaxMind-DB). Made for the
 * build's own database and for the tests' good and bad ones; one that ran out of memory stays
 * failed and says so when written.
 */
#pragma once

#include "user/core/types.h"

#include <stddef.h>

/* Values one behind the other, as the data section has them. */
struct gs_mmdb_buffer {
	uint8_t *bytes;
	size_t size, room;
	bool failed;
};

void gs_mmdb_buffer_done(struct gs_mmdb_buffer *buffer);
void gs_mmdb_put_bytes(struct gs_mmdb_buffer *buffer, const void *bytes, size_t size);
/* A value's control bytes: type (1 .. 15) and size, pairs or elements (below 2^24 + 65821). */
void gs_mmdb_put_control(struct gs_mmdb_buffer *buffer, unsigned type, uint32_t size);
void gs_mmdb_put_map(struct gs_mmdb_buffer *buffer, uint32_t pairs);
void gs_mmdb_put_array(struct gs_mmdb_buffer *buffer, uint32_t elements);
void gs_mmdb_put_text(struct gs_mmdb_buffer *buffer, const char *text);
void gs_mmdb_put_double(struct gs_mmdb_buffer *buffer, double number);
void gs_mmdb_put_float(struct gs_mmdb_buffer *buffer, float number);
/* type: 5, 6, 8, 9, 10; as many bytes as it takes. */
void gs_mmdb_put_number(struct gs_mmdb_buffer *buffer, unsigned type, uint64_t number);
void gs_mmdb_put_pointer(struct gs_mmdb_buffer *buffer, uint32_t offset);

struct gs_mmdb_writer;

/* ip_version 4 or 6; record_bits 24, 28 or 32. NULL: no memory. */
struct gs_mmdb_writer *gs_mmdb_writer_new(unsigned ip_version, unsigned record_bits);
void gs_mmdb_writer_free(struct gs_mmdb_writer *writer);
/* The data section, to put records into. */
struct gs_mmdb_buffer *gs_mmdb_writer_data(struct gs_mmdb_writer *writer);
/*
 * Addresses first .. last, both of one family (IPv4 goes below ::/96 in an IPv6 tree), have the
 * record at an offset of the data section. Later ranges win over earlier ones. -ENOMEM.
 */
int gs_mmdb_writer_insert(struct gs_mmdb_writer *writer, const struct gs_addr *first,
			  const struct gs_addr *last, uint32_t offset);
/* An IPv6 prefix is the IPv4 tree once more, as ::ffff:0:0/96 and 2002::/16 often are. -ENOMEM,
 * -EINVAL: nothing to point to, or something is there already. */
int gs_mmdb_writer_alias(struct gs_mmdb_writer *writer, const struct gs_prefix *prefix);

struct gs_mmdb_metadata {
	const char *database_type;
	const char *description; /* English */
	uint64_t build_unix_s;
};

/* Of the search tree so far. */
uint32_t gs_mmdb_writer_nodes(const struct gs_mmdb_writer *writer);
/* The whole file. -ENOMEM; -EFBIG: the tree or the data do not fit into the record size. */
int gs_mmdb_writer_finish(const struct gs_mmdb_writer *writer,
			  const struct gs_mmdb_metadata *metadata, struct gs_mmdb_buffer *ret_file);

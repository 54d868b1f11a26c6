// SPDX-License-Identifier: Apache-2.0
#include "mmdb_writer.h"

#include "user/core/cidr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

/* ---- values --------------------------------------------------------------------------------- */

void gs_mmdb_buffer_done(struct gs_mmdb_buffer *buffer)
{
	free(buffer->bytes);
	memset(buffer, 0, sizeof(*buffer));
}

void gs_mmdb_put_bytes(struct gs_mmdb_buffer *buffer, const void *bytes, size_t size)
{
	if (buffer->size + size > buffer->room) {
		size_t room = (buffer->size + size) * 2;
		uint8_t *larger = realloc(buffer->bytes, room);

		if (!larger) {
			buffer->failed = true;
			return;
		}
		buffer->bytes = larger;
		buffer->room = room;
	}
	if (size > 0)
		memcpy(buffer->bytes + buffer->size, bytes, size);
	buffer->size += size;
}

static void put_be(struct gs_mmdb_buffer *buffer, uint64_t number, unsigned bytes)
{
	while (bytes-- > 0) {
		uint8_t byte = (uint8_t)(number >> 8 * bytes);

		gs_mmdb_put_bytes(buffer, &byte, 1);
	}
}

void gs_mmdb_put_control(struct gs_mmdb_buffer *buffer, unsigned type, uint32_t size)
{
	static const uint32_t bases[] = {29, 285, 65821};
	unsigned extra = size < 29 ? 0 : size < 285 ? 1 : size < 65821 ? 2 : 3;
	unsigned code = extra ? 28 + extra : size;

	put_be(buffer, (type <= 7 ? type << 5 : 0) | code, 1);
	if (type > 7)
		put_be(buffer, type - 7, 1);
	if (extra)
		put_be(buffer, size - bases[extra - 1], extra);
}

void gs_mmdb_put_map(struct gs_mmdb_buffer *buffer, uint32_t pairs)
{
	gs_mmdb_put_control(buffer, 7, pairs);
}

void gs_mmdb_put_array(struct gs_mmdb_buffer *buffer, uint32_t elements)
{
	gs_mmdb_put_control(buffer, 11, elements);
}

void gs_mmdb_put_text(struct gs_mmdb_buffer *buffer, const char *text)
{
	gs_mmdb_put_control(buffer, 2, (uint32_t)strlen(text));
	gs_mmdb_put_bytes(buffer, text, strlen(text));
}

void gs_mmdb_put_double(struct gs_mmdb_buffer *buffer, double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof(bits));
	gs_mmdb_put_control(buffer, 3, 8);
	put_be(buffer, bits, 8);
}

void gs_mmdb_put_float(struct gs_mmdb_buffer *buffer, float number)
{
	uint32_t bits;

	memcpy(&bits, &number, sizeof(bits));
	gs_mmdb_put_control(buffer, 15, 4);
	put_be(buffer, bits, 4);
}

void gs_mmdb_put_number(struct gs_mmdb_buffer *buffer, unsigned type, uint64_t number)
{
	unsigned bytes = 0;

	while (bytes < 8 && number >> 8 * bytes)
		bytes++;
	gs_mmdb_put_control(buffer, type, bytes);
	put_be(buffer, number, bytes);
}

void gs_mmdb_put_pointer(struct gs_mmdb_buffer *buffer, uint32_t offset)
{
	put_be(buffer, 1u << 5 | 3u << 3, 1);
	put_be(buffer, offset, 4);
}

/* ---- tree ----------------------------------------------------------------------------------- */

/* A record of the tree being made: 0: nothing; DATA | offset; otherwise the number of a node. */
#define DATA 0x80000000u

struct node {
	uint32_t record[2];
};

struct gs_mmdb_writer {
	unsigned width; /* 32 or 128 */
	unsigned record_bits;
	struct node *nodes; /* [0]: the root */
	uint32_t node_count, node_room;
	struct gs_mmdb_buffer data;
};

struct gs_mmdb_writer *gs_mmdb_writer_new(unsigned ip_version, unsigned record_bits)
{
	struct gs_mmdb_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->width = ip_version == 4 ? 32 : 128;
	writer->record_bits = record_bits;
	writer->node_room = 1024;
	writer->node_count = 1;
	writer->nodes = calloc(writer->node_room, sizeof(*writer->nodes));
	if (!writer->nodes) {
		free(writer);
		return NULL;
	}
	return writer;
}

uint32_t gs_mmdb_writer_nodes(const struct gs_mmdb_writer *writer)
{
	return writer->node_count;
}

void gs_mmdb_writer_free(struct gs_mmdb_writer *writer)
{
	if (!writer)
		return;
	gs_mmdb_buffer_done(&writer->data);
	free(writer->nodes);
	free(writer);
}

struct gs_mmdb_buffer *gs_mmdb_writer_data(struct gs_mmdb_writer *writer)
{
	return &writer->data;
}

/* A node both of whose sides say what `record` says; 0: no memory. */
static uint32_t add_node(struct gs_mmdb_writer *writer, uint32_t record)
{
	if (writer->node_count == writer->node_room) {
		struct node *nodes =
			reallocarray(writer->nodes, 2ul * writer->node_room, sizeof(*nodes));

		if (!nodes)
			return 0;
		writer->nodes = nodes;
		writer->node_room *= 2;
	}
	writer->nodes[writer->node_count] = (struct node){{record, record}};
	return writer->node_count++;
}

/* Sets the record that `bits` leading bits of `first` lead to. */
static int set_prefix(struct gs_mmdb_writer *writer, u128 first, unsigned bits, uint32_t record)
{
	uint32_t node = 0;

	if (bits == 0) {
		writer->nodes[0] = (struct node){{record, record}};
		return 0;
	}
	for (unsigned i = 1;; i++) {
		unsigned side = (unsigned)(first >> (writer->width - i)) & 1;
		uint32_t next = writer->nodes[node].record[side];

		if (i == bits) {
			writer->nodes[node].record[side] = record;
			return 0;
		}
		if (next == 0 || next & DATA) {
			next = add_node(writer, next);
			if (next == 0)
				return -ENOMEM;
			writer->nodes[node].record[side] = next;
		}
		node = next;
	}
}

static u128 number_of(const struct gs_addr *addr)
{
	u128 number = 0;

	if (gs_addr_is_v4(addr))
		return gs_addr_to_v4(addr);
	for (int i = 0; i < 16; i++)
		number = number << 8 | addr->bytes[i];
	return number;
}

int gs_mmdb_writer_insert(struct gs_mmdb_writer *writer, const struct gs_addr *first,
			  const struct gs_addr *last, uint32_t offset)
{
	u128 at = number_of(first), end = number_of(last);

	/* The largest aligned block that fits, again and again. */
	for (;;) {
		unsigned size_bits = 0;
		int err;

		while (size_bits < writer->width - 1 && !(at >> size_bits & 1) &&
		       ((u128)2 << size_bits) - 1 <= end - at)
			size_bits++;
		err = set_prefix(writer, at, writer->width - size_bits, DATA | offset);
		if (err)
			return err;
		if (at + (((u128)1 << size_bits) - 1) == end)
			return 0;
		at += (u128)1 << size_bits;
	}
}

int gs_mmdb_writer_alias(struct gs_mmdb_writer *writer, const struct gs_prefix *prefix)
{
	uint32_t node = 0;

	for (unsigned i = 0; i < 96; i++) {
		node = writer->nodes[node].record[0];
		if (node == 0 || node & DATA)
			return -EINVAL;
	}
	return set_prefix(writer, number_of(&prefix->addr), prefix->length, node);
}

/* ---- file ----------------------------------------------------------------------------------- */

static uint32_t final_record(const struct gs_mmdb_writer *writer, uint32_t record)
{
	if (record == 0)
		return writer->node_count;
	return record & DATA ? writer->node_count + 16 + (record & ~DATA) : record;
}

static void put_node(const struct gs_mmdb_writer *writer, const struct node *node,
		     struct gs_mmdb_buffer *file)
{
	uint32_t left = final_record(writer, node->record[0]);
	uint32_t right = final_record(writer, node->record[1]);

	if (writer->record_bits == 28) {
		put_be(file, left & 0xffffff, 3);
		put_be(file, (left >> 24) << 4 | right >> 24, 1);
		put_be(file, right & 0xffffff, 3);
	} else {
		put_be(file, left, writer->record_bits / 8);
		put_be(file, right, writer->record_bits / 8);
	}
}

static void put_metadata(const struct gs_mmdb_writer *writer,
			 const struct gs_mmdb_metadata *metadata, struct gs_mmdb_buffer *file)
{
	gs_mmdb_put_bytes(file, "\xab\xcd\xefMaxMind.com", 14);
	gs_mmdb_put_map(file, 9);
	gs_mmdb_put_text(file, "binary_format_major_version");
	gs_mmdb_put_number(file, 5, 2);
	gs_mmdb_put_text(file, "binary_format_minor_version");
	gs_mmdb_put_number(file, 5, 0);
	gs_mmdb_put_text(file, "build_epoch");
	gs_mmdb_put_number(file, 9, metadata->build_unix_s);
	gs_mmdb_put_text(file, "database_type");
	gs_mmdb_put_text(file, metadata->database_type);
	gs_mmdb_put_text(file, "description");
	gs_mmdb_put_map(file, 1);
	gs_mmdb_put_text(file, "en");
	gs_mmdb_put_text(file, metadata->description);
	gs_mmdb_put_text(file, "ip_version");
	gs_mmdb_put_number(file, 5, writer->width == 32 ? 4 : 6);
	gs_mmdb_put_text(file, "languages");
	gs_mmdb_put_array(file, 1);
	gs_mmdb_put_text(file, "en");
	gs_mmdb_put_text(file, "node_count");
	gs_mmdb_put_number(file, 6, writer->node_count);
	gs_mmdb_put_text(file, "record_size");
	gs_mmdb_put_number(file, 5, writer->record_bits);
}

int gs_mmdb_writer_finish(const struct gs_mmdb_writer *writer,
			  const struct gs_mmdb_metadata *metadata, struct gs_mmdb_buffer *ret_file)
{
	const uint64_t highest = (uint64_t)writer->node_count + 16 + writer->data.size;
	struct gs_mmdb_buffer file = {0};

	if (highest >> writer->record_bits)
		return -EFBIG;
	for (uint32_t i = 0; i < writer->node_count; i++)
		put_node(writer, &writer->nodes[i], &file);
	put_be(&file, 0, 8);
	put_be(&file, 0, 8);
	gs_mmdb_put_bytes(&file, writer->data.bytes, writer->data.size);
	put_metadata(writer, metadata, &file);
	if (file.failed || writer->data.failed) {
		gs_mmdb_buffer_done(&file);
		return -ENOMEM;
	}
	*ret_file = file;
	return 0;
}

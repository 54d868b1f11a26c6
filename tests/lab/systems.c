// SPDX-License-Identifier: Apache-2.0
/*
 * systems OUT PREFIX=NUMBER...: an ASN mmdb that says of these prefixes which autonomous system
 * they belong to. Of prefixes in each other the last one counts.
 */

#include "mmdb_file.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_UINT32 = 6 }; /* as the format has it */

static uint32_t put_record(struct gs_mmdb_writer *writer, uint32_t asn)
{
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer);
	uint32_t offset = (uint32_t)data->size;

	gs_mmdb_put_map(data, 2);
	gs_mmdb_put_text(data, "autonomous_system_number");
	gs_mmdb_put_number(data, TYPE_UINT32, asn);
	gs_mmdb_put_text(data, "autonomous_system_organization");
	gs_mmdb_put_text(data, "A system of the lab");
	return offset;
}

static int insert(struct gs_mmdb_writer *writer, const char *text)
{
	const char *equals = strchr(text, '=');
	char prefix_text[GS_PREFIX_TEXT_MAX];
	struct gs_prefix prefix;
	struct gs_addr last;

	if (!equals || (size_t)(equals - text) >= sizeof(prefix_text))
		return -EINVAL;
	memcpy(prefix_text, text, (size_t)(equals - text));
	prefix_text[equals - text] = '\0';
	if (gs_prefix_parse(prefix_text, &prefix))
		return -EINVAL;
	last = prefix.addr;
	for (unsigned bit = prefix.length + (prefix.is_v4 ? 96u : 0u); bit < 128; bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return gs_mmdb_writer_insert(writer, &prefix.addr, &last,
				     put_record(writer, (uint32_t)strtoul(equals + 1, NULL, 10)));
}

int main(int argc, char **argv)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 28);
	int err = writer ? 0 : -ENOMEM;

	if (argc < 3) {
		fprintf(stderr, "usage: systems OUT PREFIX=NUMBER...\n");
		gs_mmdb_writer_free(writer);
		return 2;
	}
	for (int i = 2; i < argc && !err; i++)
		err = insert(writer, argv[i]);
	if (!err)
		err = lab_mmdb_save(writer, "GeoStream-Systems", "Systems that are none", argv[1]);
	gs_mmdb_writer_free(writer);
	if (err)
		fprintf(stderr, "systems: %s: %s\n", argv[1], strerror(-err));
	return err ? 1 : 0;
}

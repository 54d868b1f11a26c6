/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_dns.h"

#include "user/core/probe_spec.h"

#include <errno.h>
#include <string.h>

enum {
	HEAD = 12,
	FLAG_ANSWER = 0x80, /* of byte 2 */
	FLAG_CUT = 0x02,
	FLAG_RECURSE = 0x01,
	OPCODE = 0x78,
	CLASS_IN = 1,
	RECORD_HEAD = 10, /* behind its name: type, class, TTL, length */
};

static uint16_t read16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static size_t put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return 2;
}

/* As labels; the name is valid. */
static size_t put_name(uint8_t *at, const char *name)
{
	uint8_t *start = at;

	while (*name && strcmp(name, ".") != 0) {
		size_t length = strcspn(name, ".");

		*at++ = (uint8_t)length;
		memcpy(at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	*at++ = 0;
	return (size_t)(at - start);
}

int gs_dns_format_query(const struct gs_probe_spec *spec, uint16_t id,
			uint8_t query[GS_DNS_QUERY_MAX])
{
	int type = gs_dns_type_parse(spec->dns_type);
	size_t length = HEAD;

	if (type < 0 || !gs_domain_is_valid(spec->request))
		return -EINVAL;
	memset(query, 0, HEAD);
	put16(query, id);
	query[2] = FLAG_RECURSE;
	put16(query + 4, 1); /* question */
	length += put_name(query + length, spec->request);
	length += put16(query + length, (unsigned int)type);
	length += put16(query + length, CLASS_IN);
	return (int)length;
}

static uint8_t lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
}

/* Servers may answer a name in other letters. Lengths of labels are no letters: below 'A'. */
static bool is_same_question(const uint8_t *query, const uint8_t *reply, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (lower(query[i]) != lower(reply[i]))
			return false;
	return true;
}

/* Where the name at `at` ends; 0: beyond the message, or no name. Pointers are not followed. */
static size_t skip_name(const uint8_t *reply, size_t length, size_t at)
{
	while (at < length) {
		uint8_t label = reply[at];

		if (label == 0)
			return at + 1;
		if ((label & 0xc0) == 0xc0)
			return at + 2 <= length ? at + 2 : 0;
		if (label & 0xc0)
			return 0;
		at += 1 + (size_t)label;
	}
	return 0;
}

/* Are the records of the answer whole? */
static bool has_records(const uint8_t *reply, size_t length, size_t at, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		at = skip_name(reply, length, at);
		if (at == 0 || length - at < RECORD_HEAD)
			return false;
		at += RECORD_HEAD + (size_t)read16(reply + at + 8);
		if (at > length)
			return false;
	}
	return true;
}

bool gs_dns_judge(const struct gs_probe_spec *spec, const uint8_t *query, size_t query_length,
		  const uint8_t *reply, size_t length, enum gs_probe_class *ret_class)
{
	unsigned int rcode, answers;
	bool has_question;

	if (length < HEAD || read16(reply) != read16(query) || !(reply[2] & FLAG_ANSWER))
		return false;
	rcode = reply[3] & 0x0f;
	answers = read16(reply + 6);
	/* Errors may come without the question. */
	has_question = read16(reply + 4) == 1 && length >= query_length;
	if (has_question && !is_same_question(query + HEAD, reply + HEAD, query_length - HEAD))
		return false;
	*ret_class = GS_PROBE_BAD_REPLY;
	if ((reply[2] & OPCODE) != 0 || (!has_question && (read16(reply + 4) != 0 || rcode == 0)))
		return true;
	if (has_question && !(reply[2] & FLAG_CUT) &&
	    !has_records(reply, length, query_length, answers))
		return true;
	if (rcode != (unsigned int)gs_dns_rcode_parse(spec->dns_rcode))
		*ret_class = GS_PROBE_STATUS;
	else if (rcode == 0 && answers == 0 && !(reply[2] & FLAG_CUT))
		*ret_class = GS_PROBE_BODY;
	else
		*ret_class = GS_PROBE_OK;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "route_plain.h"

#include "api.h"

#include <string.h>

/* What stands in a text as it is. */
static bool is_plain(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* ---- reading --------------------------------------------------------------------------------- */

struct scan {
	const char *at, *end;
};

static void skip_blank(struct scan *scan)
{
	while (scan->at < scan->end &&
	       (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
		scan->at++;
}

/* The next thing, if it is that character. */
static bool take(struct scan *scan, char wanted)
{
	skip_blank(scan);
	if (scan->at == scan->end || *scan->at != wanted)
		return false;
	scan->at++;
	return true;
}

/* out: NUL-terminated; untouched on failure. */
static bool take_text(struct scan *scan, char *out, size_t room)
{
	const char *start;
	size_t length;

	if (!take(scan, '"'))
		return false;
	start = scan->at;
	while (scan->at < scan->end && is_plain(*scan->at))
		scan->at++;
	length = (size_t)(scan->at - start);
	if (length >= room || scan->at == scan->end || *scan->at++ != '"')
		return false;
	memcpy(out, start, length);
	out[length] = '\0';
	return true;
}

bool gs_route_plain_read(const char *body, size_t length, struct gs_route_question *ret_question)
{
	struct scan scan = {body, body + length};
	bool has_client = false, has_service = false;
	struct gs_route_question question;
	char key[sizeof("client_ip")];

	do {
		if (!take(&scan, has_client || has_service ? ',' : '{') ||
		    !take_text(&scan, key, sizeof(key)) || !take(&scan, ':'))
			return false;
		if (!has_client && strcmp(key, "client_ip") == 0) {
			if (!take_text(&scan, question.client_ip, sizeof(question.client_ip)))
				return false;
			has_client = true;
		} else if (!has_service && strcmp(key, "service") == 0) {
			if (!take_text(&scan, question.service, sizeof(question.service)))
				return false;
			has_service = true;
		} else {
			return false;
		}
	} while (!has_client || !has_service);
	if (!take(&scan, '}'))
		return false;
	skip_blank(&scan);
	if (scan.at != scan.end)
		return false;
	*ret_question = question;
	return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct text {
	char *out;
	size_t length, room;
	bool is_plain; /* and all of it had room */
};

static void add(struct text *text, const char *bytes, size_t length)
{
	if (length > text->room - text->length) {
		text->is_plain = false;
		return;
	}
	memcpy(text->out + text->length, bytes, length);
	text->length += length;
}

#define ADD(text, literal) add(text, literal, sizeof(literal) - 1)

static void add_string(struct text *text, const char *string)
{
	size_t length = 0;

	while (is_plain(string[length]))
		length++;
	text->is_plain = text->is_plain && !string[length];
	ADD(text, "\"");
	add(text, string, length);
	ADD(text, "\"");
}

static void add_number(struct text *text, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	add(text, digits + at, sizeof(digits) - at);
}

/* With the one digit that an estimate has to tell. */
static void add_ms(struct text *text, double ms)
{
	uint64_t tenths = (uint64_t)(ms * 10 + 0.5);

	add_number(text, tenths / 10);
	ADD(text, ".");
	add_number(text, tenths % 10);
}

size_t gs_route_plain_write(const struct gs_route_decision *decision, uint64_t generation,
			    char out[GS_ROUTE_PLAIN_MAX])
{
	struct text text = {.out = out, .room = GS_ROUTE_PLAIN_MAX, .is_plain = true};

	ADD(&text, "{\"region\":");
	if (decision->region)
		add_string(&text, decision->region);
	else
		ADD(&text, "null");
	ADD(&text, ",\"latency_ms\":");
	if (decision->latency_ms >= 0)
		add_ms(&text, decision->latency_ms);
	else
		ADD(&text, "null");
	ADD(&text, ",\"latency_source\":");
	add_string(&text, decision->latency_source);
	ADD(&text, ",\"reason\":");
	add_string(&text, decision->reason);
	ADD(&text, ",\"generation\":");
	add_number(&text, generation);
	ADD(&text, "}\n");
	return text.is_plain && generation <= INT64_MAX ? text.length : 0;
}

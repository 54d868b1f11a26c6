// SPDX-License-Identifier: Apache-2.0
#include "user/app/json_line.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The text is well-formed: ends are checked so that nothing is read beyond it, not to diagnose. */
struct scan {
	const char *at, *end;
};

static void skip_blank(struct scan *scan)
{
	while (scan->at < scan->end && strchr(" \t\r\n,:", *scan->at))
		scan->at++;
}

/* Past a string; *ret_text and *ret_length: what is between its quotes, escapes as they are. */
static void skip_string(struct scan *scan, const char **ret_text, size_t *ret_length)
{
	const char *start = ++scan->at;

	while (scan->at < scan->end && *scan->at != '"')
		scan->at += *scan->at == '\\' && scan->at + 1 < scan->end ? 2 : 1;
	*ret_text = start;
	*ret_length = (size_t)(scan->at - start);
	if (scan->at < scan->end)
		scan->at++;
}

static void skip_value(struct scan *scan)
{
	const char *text;
	size_t length;
	int depth = 0;

	do {
		skip_blank(scan);
		if (scan->at >= scan->end)
			return;
		if (*scan->at == '"') {
			skip_string(scan, &text, &length);
		} else if (*scan->at == '{' || *scan->at == '[') {
			depth++;
			scan->at++;
		} else if (*scan->at == '}' || *scan->at == ']') {
			depth--;
			scan->at++;
		} else {
			while (scan->at < scan->end && !strchr(" \t\r\n,:]}", *scan->at))
				scan->at++;
		}
	} while (depth > 0);
}

/* From an object to the value of one of its keys. */
static bool enter_key(struct scan *scan, const char *key, size_t key_length)
{
	if (*scan->at != '{')
		return false;
	scan->at++;
	for (;;) {
		const char *text;
		size_t length;

		skip_blank(scan);
		if (scan->at >= scan->end || *scan->at != '"')
			return false;
		skip_string(scan, &text, &length);
		if (length == key_length && memcmp(text, key, length) == 0) {
			skip_blank(scan);
			return true;
		}
		skip_value(scan);
	}
}

static bool enter_index(struct scan *scan, unsigned long index)
{
	if (*scan->at != '[')
		return false;
	scan->at++;
	for (;; index--) {
		skip_blank(scan);
		if (scan->at >= scan->end || *scan->at == ']')
			return false;
		if (index == 0)
			return true;
		skip_value(scan);
	}
}

int gs_json_line(const char *text, size_t length, const char *path)
{
	struct scan scan = {text, text + length};
	const char *found;
	bool deeper = true;
	int line = 1;

	skip_blank(&scan);
	found = scan.at;
	while (deeper && scan.at < scan.end) {
		if (*path == '[') {
			char *rest;
			unsigned long index = strtoul(path + 1, &rest, 10);

			deeper = *rest == ']' && enter_index(&scan, index);
			path = rest + (*rest == ']');
		} else {
			size_t key_length;

			path += *path == '.';
			key_length = strcspn(path, ".[]: ");
			deeper = key_length > 0 && enter_key(&scan, path, key_length);
			path += key_length;
		}
		if (deeper)
			found = scan.at;
	}
	for (const char *c = text; c < found; c++)
		line += *c == '\n';
	return line;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's format is walked key by key: "key=%spec". Each conversion is formatted alone, so
 * that its value can be quoted and escaped whatever it holds.
 */
#include "log.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 4096,
	VALUE_MAX_BYTES = 2048,
	PAIR_MIN_BYTES = 32, /* quotes, separators and any number */
	LIMITED_EVENTS = 64,
	LIMIT_MS = 10000,
};

static const char *const LEVEL_NAMES[] = {"error", "warning", "info", "debug"};

static enum gs_log_level log_level = GS_LOG_INFO;
static enum gs_log_format log_format = GS_LOG_LOGFMT;

struct line {
	char text[LINE_MAX_BYTES];
	size_t length;
};

void gs_log_setup(enum gs_log_level level, enum gs_log_format format)
{
	log_level = level;
	log_format = format;
}

/* What may still be added; the closing brace and newline have their room besides. */
static size_t room_in(const struct line *line)
{
	return sizeof(line->text) - 4 - line->length;
}

/* What does not fit is cut. */
static void add_char(struct line *line, char c)
{
	if (room_in(line) > 0)
		line->text[line->length++] = c;
}

static void add_text(struct line *line, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		add_char(line, text[i]);
}

static void add_escaped(struct line *line, const char *value)
{
	char code[8];

	add_char(line, '"');
	/* Cut between characters, so that the closing quote always has its room. */
	for (const unsigned char *p = (const unsigned char *)value;
	     *p && room_in(line) >= sizeof(code); p++) {
		if (*p == '"' || *p == '\\') {
			add_char(line, '\\');
			add_char(line, (char)*p);
		} else if (*p < 0x20 || *p >= 0x7f) {
			snprintf(code, sizeof(code), "\\u%04x", *p);
			add_text(line, code, strlen(code));
		} else {
			add_char(line, (char)*p);
		}
	}
	add_char(line, '"');
}

static bool is_plain(const char *value)
{
	if (!*value)
		return false;
	for (const unsigned char *p = (const unsigned char *)value; *p; p++)
		if (*p <= 0x20 || *p >= 0x7f || *p == '"' || *p == '=' || *p == '\\')
			return false;
	return true;
}

static void add_pair(struct line *line, const char *key, size_t key_length, const char *value,
		     bool is_number)
{
	if (room_in(line) < key_length + PAIR_MIN_BYTES)
		return; /* a half would spoil the line for machines */
	if (log_format == GS_LOG_JSON) {
		if (line->length > 1)
			add_char(line, ',');
		add_char(line, '"');
		add_text(line, key, key_length);
		add_text(line, "\":", 2);
		if (is_number)
			add_text(line, value, strlen(value));
		else
			add_escaped(line, value);
		return;
	}
	if (line->length > 0)
		add_char(line, ' ');
	add_text(line, key, key_length);
	add_char(line, '=');
	if (is_plain(value))
		add_text(line, value, strlen(value));
	else
		add_escaped(line, value);
}

/* One conversion, "%-08.3lu" and the like; takes its argument. Returns what follows it. */
static const char *format_value(const char *spec, va_list *arguments, char *out, size_t room,
				bool *ret_is_number)
{
	size_t length = 1 + strspn(spec + 1, "-+ #0123456789.");
	unsigned int longs = 0;
	char one[32];

	for (; strchr("hlzj", spec[length]) && spec[length]; length++)
		longs += spec[length] == 'l' || spec[length] == 'z' || spec[length] == 'j';
	length++;
	snprintf(one, sizeof(one), "%.*s", (int)length, spec);
	*ret_is_number = strchr("diufeg", spec[length - 1]) != NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (spec[length - 1] == 's') {
		const char *text = va_arg(*arguments, const char *);

		snprintf(out, room, one, text ? text : "");
	} else if (strchr("efg", spec[length - 1])) {
		snprintf(out, room, one, va_arg(*arguments, double));
	} else if (longs) {
		long long number = va_arg(*arguments, long long); /* or unsigned: the same bits */

		snprintf(out, room, one, number);
	} else {
		int number = va_arg(*arguments, int);

		snprintf(out, room, one, number);
	}
#pragma GCC diagnostic pop
	return spec + length;
}

static void add_fields(struct line *line, const char *format, va_list *arguments)
{
	char value[VALUE_MAX_BYTES];

	while (*format) {
		const char *key, *equals;
		bool is_number = false;

		format += strspn(format, " ");
		key = format;
		equals = strchr(key, '=');
		if (!equals)
			return;
		format = equals + 1;
		if (*format == '%' && format[1] != '%') {
			format = format_value(format, arguments, value, sizeof(value), &is_number);
		} else {
			size_t length = strcspn(format, " ");

			snprintf(value, sizeof(value), "%.*s", (int)length, format);
			format += length;
		}
		add_pair(line, key, (size_t)(equals - key), value, is_number);
	}
}

static void add_head(struct line *line, enum gs_log_level level, const char *event)
{
	struct timespec now;
	struct tm utc;
	char stamp[40];
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	length = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(stamp + length, sizeof(stamp) - length, ".%03ldZ", now.tv_nsec / 1000000);
	if (log_format == GS_LOG_JSON)
		add_char(line, '{');
	add_pair(line, "time", 4, stamp, false);
	add_pair(line, "level", 5, LEVEL_NAMES[level], false);
	add_pair(line, "event", 5, event, false);
}

/* One write a line, so that lines of several programs on one terminal do not mix. */
static void put(struct line *line)
{
	size_t done = 0;

	if (log_format == GS_LOG_JSON)
		line->text[line->length++] = '}';
	line->text[line->length++] = '\n';
	while (done < line->length) {
		ssize_t n = write(STDERR_FILENO, line->text + done, line->length - done);

		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

void gs_log(enum gs_log_level level, const char *event, const char *format, ...)
{
	struct line line = {.length = 0};
	va_list arguments;

	if (level > log_level)
		return;
	add_head(&line, level, event);
	va_start(arguments, format);
	add_fields(&line, format, &arguments);
	va_end(arguments);
	put(&line);
}

struct limited {
	const char *event;
	uint64_t last_ms;
	unsigned long left_out;
};

static struct limited *find_limited(const char *event)
{
	static struct limited seen[LIMITED_EVENTS];
	struct limited *oldest = &seen[0];

	for (size_t i = 0; i < LIMITED_EVENTS; i++) {
		if (seen[i].event && strcmp(seen[i].event, event) == 0)
			return &seen[i];
		if (!seen[i].event || (oldest->event && seen[i].last_ms < oldest->last_ms))
			oldest = &seen[i];
		if (!seen[i].event)
			break;
	}
	*oldest = (struct limited){.event = event};
	return oldest;
}

void gs_log_limited(enum gs_log_level level, const char *event, const char *format, ...)
{
	struct limited *limited = find_limited(event);
	struct line line = {.length = 0};
	struct timespec now;
	va_list arguments;
	char count[24];
	uint64_t now_ms;

	if (level > log_level)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	if (limited->last_ms && now_ms - limited->last_ms < LIMIT_MS) {
		limited->left_out++;
		return;
	}
	limited->last_ms = now_ms;
	add_head(&line, level, event);
	va_start(arguments, format);
	add_fields(&line, format, &arguments);
	va_end(arguments);
	if (limited->left_out) {
		snprintf(count, sizeof(count), "%lu", limited->left_out);
		add_pair(&line, "left_out", 8, count, true);
		limited->left_out = 0;
	}
	put(&line);
}

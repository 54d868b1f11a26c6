// SPDX-License-Identifier: Apache-2.0
#include "user/ctl/ctl_ask.h"

#include "user/adapters/control.h"
#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <stdarg.h>
#include <string.h>

void gs_ctl_decref_ptr(json_t **json)
{
	json_decref(*json);
}

/* words: separated by blanks */
static bool is_one_of(const char *word, const char *words)
{
	size_t length = strlen(word);
	const char *at = words;

	while (length > 0 && (at = strstr(at, word))) {
		if ((at == words || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
			return true;
		at += length;
	}
	return false;
}

static bool has_colour(void)
{
	const char *no_colour = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
}

void gs_ctl_print_state(const char *state, int width)
{
	const char *colour = "";

	if (has_colour())
		colour = is_one_of(state, "up closed add")			    ? "\033[32m"
			 : is_one_of(state, "drain trial half_open closing update") ? "\033[33m"
										    : "\033[31m";
	fputs(colour, stdout);
	gs_ctl_printf("%s", state);
	printf("%s%*s", *colour ? "\033[0m" : "",
	       width > (int)strlen(state) ? width - (int)strlen(state) : 0, "");
}

const char *gs_ctl_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_int_t gs_ctl_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

json_t *gs_ctl_read_reply(const struct gs_ctl *ctl, const char *text)
{
	json_error_t error;
	json_t *reply = json_loads(text, 0, &error);

	if (json_is_object(reply))
		return reply;
	gs_ctl_fail("%s: answers no JSON object: %s", ctl->socket_path, error.text);
	json_decref(reply);
	return NULL;
}

json_t *gs_ctl_ask(const struct gs_ctl *ctl, json_t *request, uint32_t timeout_ms)
{
	GS_AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	GS_AUTO_FREE char *text = NULL;
	struct gs_error error = {""};
	const char *problem;
	json_t *reply;

	json_decref(request);
	if (!line) {
		gs_ctl_fail("an argument is no UTF-8 text");
		return NULL;
	}
	if (gs_control_ask(ctl->socket_path, line, timeout_ms, &text, &error)) {
		gs_ctl_fail("%s", error.text);
		return NULL;
	}
	reply = gs_ctl_read_reply(ctl, text);
	problem = json_string_value(json_object_get(reply, "error"));
	if (!problem)
		return reply;
	gs_ctl_fail("%s", problem);
	json_decref(reply);
	return NULL;
}

int gs_ctl_show(const struct gs_ctl *ctl, json_t *request, void (*print)(const json_t *reply))
{
	GS_AUTO_JSON json_t *reply = gs_ctl_ask(ctl, request, GS_CTL_ASK_MS);

	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return gs_ctl_print(reply);
	print(reply);
	return GS_CTL_DONE;
}

/* Of the character at `text`, if it is well-formed UTF-8 and no control; else 0. */
static size_t character_length(const char *text)
{
	char one[5] = "";

	for (size_t i = 0; i < 4 && text[i]; i++) {
		one[i] = text[i];
		if (gs_text_is_valid(one, 4))
			return i + 1;
	}
	return 0;
}

void gs_ctl_clean(char *text)
{
	while (*text) {
		size_t length = character_length(text);

		if (length == 0)
			*text = '?';
		text += length ? length : 1;
	}
}

void gs_ctl_printf(const char *format, ...)
{
	GS_AUTO_FREE char *text = NULL;
	size_t length = strlen(format);
	bool is_line = length > 0 && format[length - 1] == '\n';
	va_list arguments;
	int printed;

	va_start(arguments, format);
	printed = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (printed < 0) {
		text = NULL;
		gs_ctl_fail("no memory");
		return;
	}
	if (is_line)
		text[printed - 1] = '\0';
	gs_ctl_clean(text);
	fputs(text, stdout);
	if (is_line)
		putchar('\n');
}

void gs_ctl_put_json(const char *text, FILE *file)
{
	const unsigned char *at = (const unsigned char *)text;

	for (; *at; at++) {
		if (*at == 0x7f)
			fputs("\\u007f", file);
		else if (*at == 0xc2 && at[1] < 0xa0)
			fprintf(file, "\\u%04x", *++at);
		else
			putc(*at, file);
	}
	putc('\n', file);
}

int gs_ctl_print_as(const json_t *json, size_t flags)
{
	GS_AUTO_FREE char *text =
		json_dumps(json, flags | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

	if (!text)
		return gs_ctl_fail("no memory");
	gs_ctl_put_json(text, stdout);
	return GS_CTL_DONE;
}

int gs_ctl_print(const json_t *json)
{
	return gs_ctl_print_as(json, JSON_INDENT(2));
}

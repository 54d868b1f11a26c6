// SPDX-License-Identifier: Apache-2.0
#include "user/ctl/ctl_ask.h"

#include "user/adapters/control.h"
#include "user/base/cleanup.h"

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
	printf("%s%s%s%*s", colour, state, *colour ? "\033[0m" : "",
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

json_t *gs_ctl_ask(const struct gs_ctl *ctl, json_t *request, uint32_t timeout_ms)
{
	GS_AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	GS_AUTO_FREE char *text = NULL;
	struct gs_error error = {""};
	json_error_t json_error;
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
	reply = json_loads(text, 0, &json_error);
	problem = json_string_value(json_object_get(reply, "error"));
	if (!json_is_object(reply))
		gs_ctl_fail("%s: answers no JSON object: %s", ctl->socket_path, json_error.text);
	else if (problem)
		gs_ctl_fail("%s", problem);
	else
		return reply;
	json_decref(reply);
	return NULL;
}

int gs_ctl_print(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
	putchar('\n');
	return GS_CTL_DONE;
}

void gs_ctl_print_text(const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++)
		putchar(*at < ' ' || *at == 0x7f ? '?' : *at);
}

// SPDX-License-Identifier: Apache-2.0
/* This edge as routers see it: is it ready, and is it drained? Asks geostreamd. */
#include "user/adapters/control.h"
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <jansson.h>
#include <string.h>

enum { READY_MS = 2000 }; /* whose daemon takes longer is not ready */

static void print_reach(const json_t *reach)
{
	const char *reason = gs_ctl_text(reach, "reason");

	if (json_is_true(json_object_get(reach, "drained")))
		gs_ctl_printf("drained     for %lld s%s%s\n", gs_ctl_number(reach, "drained_s"),
			      *reason ? ": " : "", reason);
	else
		puts("drained     no");
	gs_ctl_printf("interfaces  %lld with the program, %lld of them up\n",
		      gs_ctl_number(reach, "interfaces"), gs_ctl_number(reach, "interfaces_up"));
	gs_ctl_printf("on link     %lld VIPs%s\n", gs_ctl_number(reach, "vips_on_link"),
		      json_is_true(json_object_get(reach, "drained"))
			      ? ", not answered for while drained"
			      : "");
	if (*gs_ctl_text(reach, "problem"))
		gs_ctl_printf("problem     %s\n", gs_ctl_text(reach, "problem"));
}

static void print_ready(const json_t *reply)
{
	const json_t *why;
	size_t i;

	if (json_is_true(json_object_get(reply, "ready")))
		puts("ready");
	json_array_foreach (json_object_get(reply, "why"), i, why)
		gs_ctl_printf("not ready: %s\n", json_string_value(why));
}

/* What is laid over objects on this edge alone. */
static void print_overlays(const json_t *overlays)
{
	const json_t *row;
	size_t i;

	json_array_foreach (overlays, i, row)
		if (json_is_true(json_object_get(row, "local")))
			gs_ctl_printf("alone       %s %s: %s until %s by %s%s%s\n",
				      gs_ctl_text(row, "kind"), gs_ctl_text(row, "name"),
				      gs_ctl_text(row, "admin"), gs_ctl_text(row, "expires"),
				      gs_ctl_text(row, "actor"),
				      *gs_ctl_text(row, "reason") ? ": " : "",
				      gs_ctl_text(row, "reason"));
}

static void print_edge(const json_t *reply)
{
	gs_ctl_printf("edge        %s\n", gs_ctl_text(reply, "edge"));
	print_reach(json_object_get(reply, "reach"));
	print_overlays(json_object_get(reply, "overlays"));
	print_ready(reply);
}

static int edge_show(const struct gs_ctl *ctl, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("edge", "show", "no arguments expected");
	return gs_ctl_show(ctl, json_pack("{s:s}", "command", "edge.show"), print_edge);
}

static int edge_drain(const struct gs_ctl *ctl, int argc, char **argv)
{
	json_t *request;

	if (argc != 0 && !(argc == 2 && strcmp(argv[0], "--reason") == 0))
		return gs_ctl_usage("edge", "drain", "no arguments but --reason TEXT expected");
	request = json_pack("{s:s}", "command", "edge.drain");
	if (argc == 2 && json_object_set_new(request, "reason", json_string(argv[1]))) {
		json_decref(request);
		return gs_ctl_fail("the reason is no UTF-8 text");
	}
	return gs_ctl_show(ctl, request, print_edge);
}

static int edge_resume(const struct gs_ctl *ctl, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("edge", "resume", "no arguments expected");
	return gs_ctl_show(ctl, json_pack("{s:s}", "command", "edge.resume"), print_edge);
}

/* Of a daemon that is away too: nothing to print then, and not ready. */
static int ready_quietly(const struct gs_ctl *ctl, const json_t *request)
{
	GS_AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	GS_AUTO_FREE char *text = NULL;
	GS_AUTO_JSON json_t *reply = NULL;
	struct gs_error error;

	if (!line || gs_control_ask(ctl->socket_path, line, READY_MS, &text, &error))
		return GS_CTL_FAILED;
	reply = json_loads(text, 0, NULL);
	return json_is_true(json_object_get(reply, "ready")) ? GS_CTL_DONE : GS_CTL_FAILED;
}

static int edge_ready(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_JSON json_t *request = json_pack("{s:s}", "command", "edge.ready");
	GS_AUTO_JSON json_t *reply = NULL;
	bool quiet = false;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "-q") == 0 || strcmp(argv[i], "--quiet") == 0)
			quiet = true;
		else if (strcmp(argv[i], "--vip") == 0 && i + 1 < argc)
			json_object_set_new(request, "vip", json_string(argv[++i]));
		else
			return gs_ctl_usage("edge", "ready", "'%s' is not expected", argv[i]);
	}
	if (quiet)
		return ready_quietly(ctl, request);
	reply = gs_ctl_ask(ctl, json_incref(request), READY_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		gs_ctl_print(reply);
	else
		print_ready(reply);
	return json_is_true(json_object_get(reply, "ready")) ? GS_CTL_DONE : GS_CTL_FAILED;
}

const struct gs_ctl_command gs_ctl_edge_commands[] = {
	{"edge", "show", "", "this edge: is it drained, is it ready, for what does it answer",
	 edge_show},
	{"edge", "drain", "[--reason TEXT]",
	 "withdraw this edge: not ready, no answers for its VIPs; packets are forwarded",
	 edge_drain},
	{"edge", "resume", "", "take the drain back", edge_resume},
	{"edge", "ready", "[-q] [--vip ADDRESS]",
	 "exit 0 if routers may send clients here, else 1 (for BIRD and ExaBGP)", edge_ready},
	{NULL, NULL, NULL, NULL, NULL},
};

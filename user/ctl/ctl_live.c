// SPDX-License-Identifier: Apache-2.0
/* Health and breakers as the daemon has them now, or as every edge last told of them. */
#include "user/adapters/pg_history.h"
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_db.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { WATCH_MS = 500 };

/* ---- breakers --------------------------------------------------------------------------------*/

static void print_breaker(const json_t *row)
{
	const json_t *forced = json_object_get(row, "forced");

	gs_ctl_printf("%-20s %-16s ", gs_ctl_text(row, "service"), gs_ctl_text(row, "region"));
	gs_ctl_print_state(gs_ctl_text(row, "state"), 10);
	gs_ctl_printf("%6lld s  %5lld ok %5lld failed  pool ", gs_ctl_number(row, "since_s"),
		      gs_ctl_number(row, "ok"), gs_ctl_number(row, "failed"));
	gs_ctl_print_state(gs_ctl_text(row, "pool"), 6);
	if (json_object_get(row, "half_open_in_ms"))
		gs_ctl_printf(" trials in %lld ms", gs_ctl_number(row, "half_open_in_ms"));
	if (json_object_get(row, "trials"))
		gs_ctl_printf(" %lld of %lld trials left, %lld out, %lld completed, %lld returned",
			      gs_ctl_number(row, "trials_left"), gs_ctl_number(row, "trials"),
			      gs_ctl_number(row, "trials_out"),
			      gs_ctl_number(row, "trials_completed"),
			      gs_ctl_number(row, "trials_returned"));
	if (json_object_get(row, "accept_percent"))
		gs_ctl_printf(" takes %lld %% of new flows", gs_ctl_number(row, "accept_percent"));
	if (forced)
		gs_ctl_printf(" forced %s until %s by %s", gs_ctl_text(forced, "state"),
			      gs_ctl_text(forced, "expires"), gs_ctl_text(forced, "actor"));
	if (*gs_ctl_text(row, "why"))
		gs_ctl_printf(" (%s)", gs_ctl_text(row, "why"));
	putchar('\n');
}

static int list_of_edges(const struct gs_ctl *ctl)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = gs_ctl_db_open(ctl);
	GS_AUTO_JSON json_t *states = NULL;
	GS_AUTO_JSON json_t *forces = NULL;
	struct gs_error error = {0};
	const json_t *row;
	size_t i;

	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_breakers(admin, &states, &forces, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		return gs_ctl_print_json(
			json_pack("{s:O,s:O}", "breakers", states, "forces", forces));
	json_array_foreach (states, i, row) {
		gs_ctl_printf("%-16s %-20s %-16s ", gs_ctl_text(row, "edge"),
			      gs_ctl_text(row, "service"), gs_ctl_text(row, "region"));
		gs_ctl_print_state(gs_ctl_text(row, "state"), 10);
		gs_ctl_printf("since %s: %s\n", gs_ctl_text(row, "since"), gs_ctl_text(row, "why"));
	}
	json_array_foreach (forces, i, row)
		gs_ctl_printf("%-16s %-20s %-16s forced %s until %s by %s: %s\n",
			      *gs_ctl_text(row, "edge") ? gs_ctl_text(row, "edge") : "all edges",
			      gs_ctl_text(row, "service"), gs_ctl_text(row, "region"),
			      gs_ctl_text(row, "forced"), gs_ctl_text(row, "expires"),
			      gs_ctl_text(row, "actor"), gs_ctl_text(row, "reason"));
	return GS_CTL_DONE;
}

static int breaker_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_JSON json_t *reply = NULL;
	const json_t *row;
	size_t i;

	if (argc == 1 && strcmp(argv[0], "--edges") == 0)
		return list_of_edges(ctl);
	if (argc > 0)
		return gs_ctl_usage("breaker", "list", "unexpected \"%s\"", argv[0]);
	reply = gs_ctl_ask(ctl, json_pack("{s:s}", "command", "breaker.list"), GS_CTL_ASK_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return gs_ctl_print(reply);
	json_array_foreach (json_object_get(reply, "breakers"), i, row)
		print_breaker(row);
	return GS_CTL_DONE;
}

/* ---- health ----------------------------------------------------------------------------------*/

static void print_backend(const json_t *row)
{
	gs_ctl_printf("%-20s %-16s %-12s ", gs_ctl_text(row, "name"), gs_ctl_text(row, "service"),
		      gs_ctl_text(row, "region"));
	gs_ctl_print_state(gs_ctl_text(row, "state"), 6);
	gs_ctl_printf("%-10s %7lld us  for %lld s%s%s%s%s", gs_ctl_text(row, "health"),
		      gs_ctl_number(row, "latency_us"), gs_ctl_number(row, "since_s"),
		      *gs_ctl_text(row, "drain_until") ? ", drained until " : "",
		      gs_ctl_text(row, "drain_until"),
		      *gs_ctl_text(row, "last_failure") ? ", last failure: " : "",
		      gs_ctl_text(row, "last_failure"));
	if (*gs_ctl_text(row, "damped"))
		gs_ctl_printf(", %s", gs_ctl_text(row, "damped"));
	if (gs_ctl_number(row, "tunnel_mtu"))
		gs_ctl_printf(", its path takes %lld bytes", gs_ctl_number(row, "tunnel_mtu"));
	if (strcmp(gs_ctl_text(row, "probe_path"), "tunnel") == 0)
		gs_ctl_printf(", probed through the tunnel");
	else if (*gs_ctl_text(row, "probe_path"))
		gs_ctl_printf(", probed directly: %s", gs_ctl_text(row, "probe_direct_why"));
	gs_ctl_printf("\n");
}

static int health_of_edges(const struct gs_ctl *ctl)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = gs_ctl_db_open(ctl);
	GS_AUTO_FREE struct gs_pg_health *rows = NULL;
	json_t *list = json_array();
	struct gs_error error = {0};
	size_t count = 0;

	if (!admin || gs_pg_admin_health(admin, &rows, &count, &error) != 0) {
		json_decref(list);
		return admin ? gs_ctl_fail("%s", error.text) : GS_CTL_FAILED;
	}
	for (size_t i = 0; i < count; i++) {
		const struct gs_pg_health *row = &rows[i];

		if (ctl->json) {
			json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}",
							      "edge", row->edge, "kind", row->kind,
							      "region", row->region, "service",
							      row->service, "backend", row->backend,
							      "state", row->state, "why", row->why,
							      "since", row->since));
			continue;
		}
		gs_ctl_printf("%-16s %-8s %-12s %-16s %-20s ", row->edge, row->kind, row->region,
			      row->service, row->backend);
		gs_ctl_print_state(row->state, 8);
		gs_ctl_printf("since %s: %s\n", row->since, row->why);
	}
	if (ctl->json)
		return gs_ctl_print_json(list);
	json_decref(list);
	return GS_CTL_DONE;
}

/* What is worth a line when it changes. */
static bool is_same(const json_t *a, const json_t *b)
{
	return strcmp(gs_ctl_text(a, "health"), gs_ctl_text(b, "health")) == 0 &&
	       !*gs_ctl_text(a, "damped") == !*gs_ctl_text(b, "damped") &&
	       strcmp(gs_ctl_text(a, "state"), gs_ctl_text(b, "state")) == 0;
}

static const json_t *find_backend(const json_t *list, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach (list, i, row)
		if (strcmp(gs_ctl_text(row, "name"), name) == 0)
			return row;
	return NULL;
}

static void tell_backend(const struct gs_ctl *ctl, const json_t *row)
{
	if (ctl->json)
		gs_ctl_print_as(row, JSON_COMPACT);
	else
		print_backend(row);
}

/* Nothing of what it was last is true of it any more, but for its names. */
static void tell_gone(const struct gs_ctl *ctl, const json_t *was)
{
	const char *name = gs_ctl_text(was, "name"), *service = gs_ctl_text(was, "service");
	const char *region = gs_ctl_text(was, "region");

	if (ctl->json) {
		GS_AUTO_JSON json_t *row = json_pack("{s:s,s:s,s:s,s:s}", "name", name, "service",
						     service, "region", region, "state", "gone");

		gs_ctl_print_as(row, JSON_COMPACT);
	} else {
		gs_ctl_printf("%-20s %-16s %-12s gone\n", name, service, region);
	}
}

/* On a terminal the whole list in its place; elsewhere a line for what has changed. */
static void show_backends(const struct gs_ctl *ctl, const json_t *before, const json_t *now,
			  bool in_place)
{
	const json_t *row;
	size_t i;

	if (in_place)
		fputs("\033[H\033[2J", stdout);
	json_array_foreach (now, i, row) {
		const json_t *was = find_backend(before, gs_ctl_text(row, "name"));

		if (in_place || !was || !is_same(was, row))
			tell_backend(ctl, row);
	}
	json_array_foreach (before, i, row)
		if (!in_place && !find_backend(now, gs_ctl_text(row, "name")))
			tell_gone(ctl, row);
	fflush(stdout);
}

static json_t *ask_backends(const struct gs_ctl *ctl)
{
	GS_AUTO_JSON json_t *reply = gs_ctl_ask_status(ctl);
	json_t *backends = json_object_get(reply, "backends");

	return reply ? (backends ? json_incref(backends) : json_array()) : NULL;
}

/* What has begun to be printed is printed to its end; asking and waiting just end. */
static volatile sig_atomic_t is_printing, is_ended;

static void on_end(int number)
{
	(void)number;
	if (!is_printing)
		_exit(GS_CTL_DONE);
	if (is_ended)
		_exit(GS_CTL_FAILED); /* asked twice: the reader does not read */
	is_ended = 1;
}

/* By Ctrl-C and by kill; but for what was to be ignored, as a shell has it for its background. */
static void take_ends(void)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	const struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESTART};
	struct sigaction was;

	for (size_t n = 0; n < ARRAY_SIZE(numbers); n++)
		if (sigaction(numbers[n], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaction(numbers[n], &end, NULL);
}

/* Until somebody ends it: done. Until the reader goes away, or the daemon: failed. */
static int watch(const struct gs_ctl *ctl)
{
	bool in_place = isatty(STDOUT_FILENO) && !ctl->json;
	struct pollfd reader = {.fd = STDOUT_FILENO};
	json_t *before = json_array();

	take_ends();
	for (;;) {
		json_t *now = ask_backends(ctl);

		if (!now)
			break;
		is_printing = 1;
		show_backends(ctl, before, now, in_place);
		is_printing = 0;
		json_decref(before);
		before = now;
		if (is_ended || ferror(stdout))
			break;
		/* Nothing is asked for: only an end of the reader wakes it early. */
		if (poll(&reader, 1, WATCH_MS) > 0 && reader.revents & (POLLERR | POLLHUP))
			break;
	}
	json_decref(before);
	return is_ended && !ferror(stdout) ? GS_CTL_DONE : GS_CTL_FAILED;
}

static int health_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_JSON json_t *backends = NULL;
	const json_t *row;
	size_t i;

	if (argc == 1 && strcmp(argv[0], "--edges") == 0)
		return health_of_edges(ctl);
	if (argc == 1 && strcmp(argv[0], "--watch") == 0)
		return watch(ctl);
	if (argc > 0)
		return gs_ctl_usage("health", "list", "unexpected \"%s\"", argv[0]);
	backends = ask_backends(ctl);
	if (!backends)
		return GS_CTL_FAILED;
	if (ctl->json)
		return gs_ctl_print(backends);
	json_array_foreach (backends, i, row)
		print_backend(row);
	return GS_CTL_DONE;
}

static void print_cleared(const json_t *reply)
{
	gs_ctl_printf("%lld of %lld backends had flapped of late: as if they had not\n",
		      gs_ctl_number(reply, "cleared"), gs_ctl_number(reply, "backends"));
}

/* Of this edge alone: each edge damps what it sees itself. */
static int health_clear(const struct gs_ctl *ctl, int argc, char **argv)
{
	json_t *names = json_array(), *request;

	for (int i = 0; i < argc; i++)
		json_array_append_new(names, json_string(argv[i]));
	if (argc < 1 || argv[0][0] == '-' || json_array_size(names) != (size_t)argc) {
		json_decref(names);
		return gs_ctl_usage("health", "clear", "which backends?");
	}
	request = json_pack("{s:s, s:o, s:s}", "command", "damping.clear", "names", names, "actor",
			    ctl->actor ? ctl->actor : "");
	return gs_ctl_show(ctl, request, print_cleared);
}

const struct gs_ctl_command gs_ctl_live_commands[] = {
	{"health", "list", "[--watch] [--edges]",
	 "how the backends are (--edges: as every edge told)", health_list},
	{"health", "clear", "BACKEND...",
	 "let backends go that this edge holds down because they flap (web-* is a pattern)",
	 health_clear},
	{"breaker", "list", "[--edges]", "the circuit breakers (--edges: as every edge told)",
	 breaker_list},
	{NULL, NULL, NULL, NULL, NULL},
};

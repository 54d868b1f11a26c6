// SPDX-License-Identifier: Apache-2.0
/*
 * GeoIP databases of the running daemon: put into force, taken back, and what that changes. While
 * the daemon loads, it is asked on a second connection how far it is.
 */
#include "user/adapters/control.h"
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	LOOK_MS = 100,	  /* between two looks, on a terminal */
	ALIVE_MS = 30000, /* elsewhere: does it answer at all? */
	BAR_WIDTH = 24,
};

/* ---- a load under way ------------------------------------------------------------------------ */

static double seconds_of(const json_t *loading)
{
	return (double)gs_ctl_number(loading, "elapsed_ms") / 1000;
}

static double megabytes_of(const json_t *loading)
{
	return (double)gs_ctl_number(loading, "size_bytes") / 1e6;
}

void gs_ctl_print_loading(const json_t *loading)
{
	if (!loading)
		return;
	gs_ctl_printf("loading     %s%s%s%s: %s, %lld %%", gs_ctl_text(loading, "file"),
		      strcmp(gs_ctl_text(loading, "kind"), "asn") == 0 ? " (ASN)" : "",
		      json_is_true(json_object_get(loading, "dry_run")) ? " (dry run)" : "",
		      json_is_true(json_object_get(loading, "rollback")) ? " (rollback)" : "",
		      gs_ctl_text(loading, "phase"), gs_ctl_number(loading, "percent"));
	if (gs_ctl_number(loading, "size_bytes") > 0)
		printf(", %.1f MB", megabytes_of(loading));
	printf(", for %.1f s%s\n", seconds_of(loading),
	       json_is_true(json_object_get(loading, "cancelled")) ? ", to be cancelled" : "");
}

/* In place of what stood in the line. */
static void draw_bar(const json_t *loading)
{
	long long percent = gs_ctl_number(loading, "percent");
	char phase[16], bar[BAR_WIDTH + 1];

	if (!loading)
		return;
	for (long long i = 0; i < BAR_WIDTH; i++)
		bar[i] = i * 100 < percent * BAR_WIDTH ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	snprintf(phase, sizeof(phase), "%s", gs_ctl_text(loading, "phase"));
	gs_ctl_clean(phase);
	fprintf(stderr, "\r[%s] %3lld %%  %-9s", bar, percent, phase);
	if (gs_ctl_number(loading, "size_bytes") > 0)
		fprintf(stderr, "  %.1f MB", megabytes_of(loading));
	fprintf(stderr, "  %.1f s\033[K", seconds_of(loading));
	fflush(stderr);
}

static void clear_bar(void)
{
	fputs("\r\033[K", stderr);
	fflush(stderr);
}

/* False: it does not answer, and that is printed. */
static bool look(const struct gs_ctl *ctl, bool has_bar)
{
	GS_AUTO_JSON json_t *status =
		gs_ctl_ask(ctl, json_pack("{s:s}", "command", "geo.status"), GS_CTL_ASK_MS);

	if (has_bar)
		draw_bar(json_object_get(status, "loading"));
	return status != NULL;
}

static volatile sig_atomic_t was_interrupted;

static void on_interrupt(int signal)
{
	(void)signal;
	was_interrupted = 1;
}

/* 1: the reply comes; 0: it goes on; -EINTR: somebody wants it no longer. */
static int wait_for(int fd, long wait_ms)
{
	const struct timespec limit = {.tv_sec = wait_ms / 1000,
				       .tv_nsec = wait_ms % 1000 * 1000000};
	struct pollfd reply = {.fd = fd, .events = POLLIN};
	sigset_t blocked, before;
	int ready = 0;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	if (!was_interrupted)
		ready = ppoll(&reply, 1, &limit, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return was_interrupted ? -EINTR : ready > 0;
}

static int leave_it(const char *what)
{
	return gs_ctl_fail(
		"%s: the daemon goes on with it; `geostreamctl geo status` shows how far "
		"it is, `geo cancel` ends it",
		what);
}

/*
 * What may take seconds. what: for people. Steals request. The reply, "error" in it or not; NULL:
 * why is printed.
 */
static json_t *ask_and_watch(const struct gs_ctl *ctl, json_t *request, const char *what)
{
	const bool has_bar = isatty(STDERR_FILENO) && !ctl->json;
	struct sigaction interrupt = {.sa_handler = on_interrupt};
	GS_AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	GS_AUTO_FREE char *text = NULL;
	GS_AUTO_CLOSE int fd = -1;
	struct gs_error error = {""};
	int ready = 0;

	json_decref(request);
	if (!line) {
		gs_ctl_fail("an argument is no UTF-8 text");
		return NULL;
	}
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGTERM, &interrupt, NULL);
	if (gs_control_begin(ctl->socket_path, line, GS_CTL_ASK_MS, &fd, &error)) {
		gs_ctl_fail("%s", error.text);
		return NULL;
	}
	while (ready == 0) {
		ready = wait_for(fd, has_bar ? LOOK_MS : ALIVE_MS);
		if (ready == 0 && !look(ctl, has_bar))
			return NULL;
	}
	if (has_bar)
		clear_bar();
	if (ready < 0) {
		leave_it(what);
		return NULL;
	}
	if (gs_control_end(ctl->socket_path, fd, &text, &error)) {
		gs_ctl_fail("%s", error.text);
		return NULL;
	}
	return gs_ctl_read_reply(ctl, text);
}

/* ---- what it changes ------------------------------------------------------------------------- */

static double percent_at(const json_t *object, const char *key)
{
	return 100 * json_number_value(json_object_get(object, key));
}

static void print_family(const char *label, const char *name, const json_t *family)
{
	const char *service = gs_ctl_text(family, "service");

	gs_ctl_printf("%-11s %s: %.4g located, %.2f %% of them at another location, %.2f %% begin "
		      "in another region%s%s%s\n",
		      label, name, json_number_value(json_object_get(family, "addresses")),
		      percent_at(family, "relocated_share"), percent_at(family, "moved_share"),
		      *service ? " (service " : "", service, *service ? ")" : "");
}

static const char *or_nowhere(const char *region)
{
	return *region ? region : "nowhere";
}

static void print_moves(const json_t *moves)
{
	const json_t *move;
	size_t i;

	json_array_foreach (moves, i, move) {
		gs_ctl_printf("%-11s %s", i == 0 ? "moves" : "", gs_ctl_text(move, "service"));
		if (gs_ctl_number(move, "services") > 1)
			printf(" and %lld more", gs_ctl_number(move, "services") - 1);
		gs_ctl_printf(": %s -> %s, %.2f %% of IPv4, %.2f %% of IPv6\n",
			      or_nowhere(gs_ctl_text(move, "from")),
			      or_nowhere(gs_ctl_text(move, "to")), percent_at(move, "ipv4_share"),
			      percent_at(move, "ipv6_share"));
	}
}

static void print_traffic(const json_t *traffic)
{
	double sampled = json_number_value(json_object_get(traffic, "sampled"));
	const json_t *move;
	size_t i;

	if (sampled <= 0) {
		puts("traffic     no flow of the last hour was sampled");
		return;
	}
	gs_ctl_printf(
		"traffic     of the last hour's %.0f sampled flows (%lld prefixes) %.2f %% are "
		"at another location, %.2f %% begin in another region\n",
		sampled, gs_ctl_number(traffic, "prefixes"), percent_at(traffic, "relocated_share"),
		percent_at(traffic, "moved_share"));
	json_array_foreach (json_object_get(traffic, "moves"), i, move)
		gs_ctl_printf("            %s: %s -> %s, %.0f flows\n",
			      gs_ctl_text(move, "service"), or_nowhere(gs_ctl_text(move, "from")),
			      or_nowhere(gs_ctl_text(move, "to")),
			      json_number_value(json_object_get(move, "flows")));
}

/* NULL: nothing was compared. */
static void print_change(const json_t *change)
{
	if (!change)
		return;
	gs_ctl_printf("compared    %s with %s before it\n", gs_ctl_text(change, "file"),
		      gs_ctl_text(change, "before"));
	if (json_is_true(json_object_get(change, "same"))) {
		puts("addresses   both say the same of every one");
		return;
	}
	print_family("addresses", "IPv4", json_object_get(change, "ipv4"));
	print_family("", "IPv6", json_object_get(change, "ipv6"));
	print_traffic(json_object_get(change, "traffic"));
	print_moves(json_object_get(change, "moves"));
}

/* ---- commands -------------------------------------------------------------------------------- */

static void print_loaded(const json_t *reply, const char *path)
{
	if (*gs_ctl_text(reply, "note"))
		gs_ctl_printf("%s: %s\n", path, gs_ctl_text(reply, "note"));
	else if (json_is_true(json_object_get(reply, "dry_run")))
		gs_ctl_printf("%s: not put in force, this is a dry run\n", path);
	else
		gs_ctl_printf(
			"%s: %lld IPv4 and %lld IPv6 networks, %lld locations, in force in generation "
			"%lld (loaded in %lld ms)\n",
			path, gs_ctl_number(reply, "networks4"), gs_ctl_number(reply, "networks6"),
			gs_ctl_number(reply, "locations"), gs_ctl_number(reply, "generation"),
			gs_ctl_number(reply, "load_ms"));
	print_change(json_object_get(reply, "change"));
	gs_ctl_print_shift(json_object_get(reply, "shift"));
	if (!json_is_true(json_object_get(reply, "configured")) &&
	    !json_is_true(json_object_get(reply, "dry_run")))
		gs_ctl_printf(
			"a restart of the daemon takes the file its settings name again: geoip = %s\n",
			path);
}

/* path: NULL, or what stands for the file that the reply names. */
static int load(const struct gs_ctl *ctl, json_t *request, const char *path)
{
	GS_AUTO_JSON json_t *reply = ask_and_watch(ctl, request, path ? path : "geo rollback");
	const char *problem = gs_ctl_text(reply, "error");

	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json && (!*problem || json_object_get(reply, "change")))
		gs_ctl_print(reply);
	else if (!*problem)
		print_loaded(reply, path ? path : gs_ctl_text(reply, "file"));
	else
		print_change(json_object_get(reply, "change"));
	return *problem ? gs_ctl_fail("%s", problem) : GS_CTL_DONE;
}

static int geo_load(const struct gs_ctl *ctl, int argc, char **argv)
{
	static const char *const options[] = {"--dry-run", "--force"};
	bool is_dry = false, is_forced = false;
	const char *file = NULL;
	char path[PATH_MAX];

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--dry-run") == 0)
			is_dry = true;
		else if (strcmp(argv[i], "--force") == 0)
			is_forced = true;
		else if (argv[i][0] == '-')
			return gs_ctl_unexpected("geo", "load", argv[i], options,
						 ARRAY_SIZE(options));
		else if (file)
			return gs_ctl_usage("geo", "load", "one FILE expected");
		else
			file = argv[i];
	}
	if (!file)
		return gs_ctl_usage("geo", "load", "one FILE expected");
	if (is_dry && is_forced)
		return gs_ctl_usage("geo", "load", "--dry-run or --force, not both");
	/* The daemon stands elsewhere. */
	if (!realpath(file, path))
		return gs_ctl_fail("%s: %s", file, strerror(errno));
	return load(ctl,
		    json_pack("{s:s, s:s, s:b, s:b}", "command", "geo.load", "path", path, "force",
			      is_forced, "dry_run", is_dry),
		    path);
}

static int geo_rollback(const struct gs_ctl *ctl, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("geo", "rollback", "no arguments expected");
	return load(ctl, json_pack("{s:s}", "command", "geo.rollback"), NULL);
}

static void print_cancelled(const json_t *reply)
{
	gs_ctl_printf("%s: is being cancelled; what is in force stays\n",
		      gs_ctl_text(reply, "file"));
}

static int geo_cancel(const struct gs_ctl *ctl, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("geo", "cancel", "no arguments expected");
	return gs_ctl_show(ctl, json_pack("{s:s}", "command", "geo.cancel"), print_cancelled);
}

static void print_limit(const json_t *percent)
{
	if (json_is_integer(percent))
		gs_ctl_printf("limit       %lld %% of addresses or of traffic may begin in another "
			      "region\n",
			      json_integer_value(percent));
	else
		puts("limit       none");
}

static void print_status(const json_t *reply)
{
	const json_t *geoip = json_object_get(reply, "geoip"), *change;

	gs_ctl_print_geoip(geoip);
	if (json_object_get(geoip, "before"))
		gs_ctl_printf("before      %s: geo rollback takes it\n",
			      gs_ctl_text(json_object_get(geoip, "before"), "file"));
	else
		puts("before      none: there is nothing to roll back to");
	print_limit(json_object_get(reply, "limit_percent"));
	gs_ctl_print_loading(json_object_get(reply, "loading"));
	change = json_object_get(geoip, "change");
	if (change)
		gs_ctl_printf("outcome     %s at %s%s\n", gs_ctl_text(change, "outcome"),
			      gs_ctl_text(change, "when"),
			      json_is_true(json_object_get(change, "forced")) ? ", forced" : "");
	print_change(change);
}

static int geo_status(const struct gs_ctl *ctl, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("geo", "status", "no arguments expected");
	return gs_ctl_show(ctl, json_pack("{s:s}", "command", "geo.status"), print_status);
}

const struct gs_ctl_command gs_ctl_geo_commands[] = {
	{"geo", "load", "FILE [--dry-run | --force]",
	 "put another GeoIP database in force, or see what it would change", geo_load},
	{"geo", "status", "", "the GeoIP database, a load under way, what the last one changed",
	 geo_status},
	{"geo", "rollback", "", "put the GeoIP database of before in force again", geo_rollback},
	{"geo", "cancel", "", "end the load under way; what is in force stays", geo_cancel},
	{NULL, NULL, NULL, NULL, NULL},
};

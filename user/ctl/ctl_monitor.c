// SPDX-License-Identifier: Apache-2.0
/* monitor: verdicts of the attached program as they happen, a line each. */
#include "user/adapters/sampler.h"
#include "user/base/cleanup.h"
#include "user/base/suggest.h"
#include "user/core/cidr.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_names.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TURN_MS = 50, NAMES_S = 5, REASONS_MAX = 64 };

struct watch {
	const struct gs_ctl *ctl;
	struct gs_sampler_ask ask;
	const char *service; /* as typed; NULL: all */
	uint64_t limit, seen;
	struct gs_ctl_names names;
	time_t names_asked_s;
};

/* ---- arguments ------------------------------------------------------------------------------- */

static int take_number(const char *option, const char *text, uint64_t most, uint64_t *ret_number)
{
	uint64_t number;

	if (!gs_ctl_digits(text, &number) || number < 1 || number > most)
		return gs_ctl_usage("monitor", "", "%s: \"%s\": a number from 1 to %llu expected",
				    option, text, (unsigned long long)most);
	*ret_number = number;
	return GS_CTL_DONE;
}

static int take_reason(const char *text, uint64_t *reasons)
{
	const char *words[REASONS_MAX + 3] = {"drop", "pass", "tx"}, *nearest;
	uint64_t asked = gs_sampler_reasons(text);
	size_t count = 3;

	for (uint32_t i = 0; i < REASONS_MAX && gs_sampler_reason_name(i); i++)
		words[count++] = gs_sampler_reason_name(i);
	*reasons |= asked;
	if (asked)
		return GS_CTL_DONE;
	nearest = gs_suggest(text, words, count);
	return gs_ctl_usage("monitor", "",
			    "--reason: \"%s\" is neither drop, tx, pass nor a reason%s%s%s "
			    "(docs/reasons.md has them)",
			    text, nearest ? "; did you mean '" : "", nearest ? nearest : "",
			    nearest ? "'?" : "");
}

static int take_prefix(const char *text, struct gs_sampler_ask *ask)
{
	int err = gs_prefix_parse(text, &ask->src);

	ask->has_src = err == 0;
	if (err == 0)
		return GS_CTL_DONE;
	return gs_ctl_usage("monitor", "", "--src: \"%s\": %s", text,
			    err == -EDOM     ? "bits behind the prefix's length are set"
			    : err == -ERANGE ? "a length its family does not have"
					     : "no IPv4 or IPv6 prefix");
}

static int take_option(struct watch *watch, const char *option, const char *value)
{
	static const char *const options[] = {"--every", "--reason", "--service", "--src",
					      "--count"};
	uint64_t number = 0;
	int result;

	if (strcmp(option, "--every") == 0) {
		result = take_number(option, value, UINT32_MAX, &number);
		if (result == GS_CTL_DONE)
			watch->ask.every = (uint32_t)number;
		return result;
	}
	if (strcmp(option, "--count") == 0)
		return take_number(option, value, UINT64_MAX, &watch->limit);
	if (strcmp(option, "--reason") == 0)
		return take_reason(value, &watch->ask.reasons);
	if (strcmp(option, "--src") == 0)
		return take_prefix(value, &watch->ask);
	if (strcmp(option, "--service") == 0) {
		watch->service = value;
		return GS_CTL_DONE;
	}
	return gs_ctl_unexpected("monitor", "", option, options, ARRAY_SIZE(options));
}

static int take_arguments(struct watch *watch, int argc, char **argv)
{
	int result = GS_CTL_DONE;

	watch->ask.every = 1;
	for (int i = 0; i < argc && result == GS_CTL_DONE; i += 2) {
		if (i + 1 == argc && strncmp(argv[i], "--", 2) == 0)
			return gs_ctl_usage("monitor", "", "%s: a value expected", argv[i]);
		result = take_option(watch, argv[i], i + 1 < argc ? argv[i + 1] : "");
	}
	if (watch->ask.reasons == 0)
		watch->ask.reasons = gs_sampler_reasons("drop") | gs_sampler_reasons("tx");
	return result;
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* Objects may be newer than the names: asked again, but not all the time. */
static void refresh_names(struct watch *watch, const struct gs_sampled *sampled)
{
	struct timespec now;

	if ((!sampled->service ||
	     gs_ctl_names_has(&watch->names, GS_CTL_SERVICE, sampled->service)) &&
	    (!sampled->backend ||
	     gs_ctl_names_has(&watch->names, GS_CTL_BACKEND, sampled->backend)))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - watch->names_asked_s < NAMES_S)
		return;
	watch->names_asked_s = now.tv_sec;
	gs_ctl_names_done(&watch->names);
	gs_ctl_names_load(watch->ctl, &watch->names);
}

/* "192.0.2.1:40000", "[2001:db8::1]:80"; without a port if there is none. */
static void format_end(const struct gs_addr *addr, uint16_t port, char out[80])
{
	bool is_v6 = !gs_addr_is_v4(addr);
	char text[GS_ADDR_TEXT_MAX];

	gs_addr_format(addr, text);
	if (port)
		snprintf(out, 80, "%s%s%s:%u", is_v6 ? "[" : "", text, is_v6 ? "]" : "", port);
	else
		snprintf(out, 80, "%s", text);
}

/* As tcpdump has them: "S", "S.", "F."; "." an ACK alone. */
static const char *format_flags(uint8_t flags, char out[9])
{
	static const char letters[] = "FSRP.UEW";
	size_t length = 0;

	for (size_t bit = 0; bit < 8; bit++)
		if (bit != 4 && flags >> bit & 1)
			out[length++] = letters[bit];
	if (flags & 0x10)
		out[length++] = '.';
	out[length] = '\0';
	return out;
}

/* In the middle of a packet's life: what to call it besides its protocol. */
static const char *format_shape(const struct gs_sampled *sampled)
{
	if (strcmp(sampled->shape, "first") == 0)
		return "frag";
	if (strcmp(sampled->shape, "later") == 0)
		return "frag+";
	if (strcmp(sampled->shape, "error") == 0)
		return "icmp";
	return "";
}

static void print_time(int64_t unix_us)
{
	time_t seconds = (time_t)(unix_us / 1000000);
	struct tm local;
	char text[16];

	localtime_r(&seconds, &local);
	strftime(text, sizeof(text), "%H:%M:%S", &local);
	printf("%s.%06d ", text, (int)(unix_us % 1000000));
}

static void print_text(const struct watch *watch, const struct gs_sampled *sampled)
{
	char src[80] = "-", dst[80] = "-", flags[9], service[GS_CTL_NAME_MAX];
	char region[GS_CTL_NAME_MAX], backend[GS_CTL_NAME_MAX];

	if (sampled->has_addresses) {
		format_end(&sampled->src, sampled->sport, src);
		format_end(&sampled->dst, sampled->dport, dst);
	}
	print_time(sampled->unix_us);
	gs_ctl_printf("%-4s %-20s %-4s %-5s %-3s %5u  %21s > %-21s  %-12s %-10s %s\n",
		      sampled->verdict, sampled->reason, sampled->protocol, format_shape(sampled),
		      format_flags(sampled->tcp_flags, flags), sampled->length, src, dst,
		      gs_ctl_name(&watch->names, GS_CTL_SERVICE, sampled->service, service),
		      gs_ctl_name(&watch->names, GS_CTL_REGION, sampled->region, region),
		      gs_ctl_name(&watch->names, GS_CTL_BACKEND, sampled->backend, backend));
}

static json_t *number_or_null(uint32_t number)
{
	return number ? json_integer(number) : json_null();
}

static void print_json(const struct watch *watch, const struct gs_sampled *sampled)
{
	const struct gs_ctl_names *names = &watch->names;
	char src[GS_ADDR_TEXT_MAX], dst[GS_ADDR_TEXT_MAX], when[32], stamp[48], flags[9];
	time_t seconds = (time_t)(sampled->unix_us / 1000000);
	GS_AUTO_JSON json_t *json = NULL;
	struct tm utc;

	gmtime_r(&seconds, &utc);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(stamp, sizeof(stamp), "%s.%06dZ", when, (int)(sampled->unix_us % 1000000));
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "time", stamp, "verdict",
			 sampled->verdict, "reason", sampled->reason, "protocol", sampled->protocol,
			 "shape", sampled->shape, "flags", format_flags(sampled->tcp_flags, flags),
			 "length", (int)sampled->length);
	if (sampled->has_addresses) {
		json_object_set_new(json, "src", json_string(gs_addr_format(&sampled->src, src)));
		json_object_set_new(json, "sport", number_or_null(sampled->sport));
		json_object_set_new(json, "dst", json_string(gs_addr_format(&sampled->dst, dst)));
		json_object_set_new(json, "dport", number_or_null(sampled->dport));
	}
	json_object_set_new(json, "service",
			    gs_ctl_name_json(names, GS_CTL_SERVICE, sampled->service));
	json_object_set_new(json, "region",
			    gs_ctl_name_json(names, GS_CTL_REGION, sampled->region));
	json_object_set_new(json, "backend",
			    gs_ctl_name_json(names, GS_CTL_BACKEND, sampled->backend));
	json_object_set_new(json, "in", number_or_null(sampled->in_ifindex));
	json_object_set_new(json, "out", number_or_null(sampled->out_ifindex));
	gs_ctl_print_as(json, JSON_COMPACT);
}

/* ---- the command ----------------------------------------------------------------------------- */

static volatile sig_atomic_t is_ended;

static void on_end(int number)
{
	(void)number;
	is_ended = 1;
}

/* By Ctrl-C and by kill, and when the reader of a pipe goes; but for what was to be ignored. */
static void take_ends(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGPIPE, SIGHUP};
	const struct sigaction end = {.sa_handler = on_end};
	struct sigaction was;

	for (size_t n = 0; n < ARRAY_SIZE(numbers); n++)
		if (sigaction(numbers[n], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaction(numbers[n], &end, NULL);
}

static bool on_sampled(void *context, const struct gs_sampled *sampled)
{
	struct watch *watch = context;

	refresh_names(watch, sampled);
	if (watch->ctl->json)
		print_json(watch, sampled);
	else
		print_text(watch, sampled);
	watch->seen++;
	return !is_ended && !ferror(stdout) && (!watch->limit || watch->seen < watch->limit);
}

static void print_summary(const struct watch *watch, const struct gs_sampler *sampler)
{
	struct gs_sampler_counts counts;

	if (gs_sampler_count(sampler, &counts))
		return;
	fflush(stdout);
	fprintf(stderr,
		"%llu shown; %llu lost because the ring was full; %llu drops beyond the limit\n",
		(unsigned long long)watch->seen, (unsigned long long)counts.lost,
		(unsigned long long)counts.held);
}

/* Until it is ended, or has shown enough: done. Until the reader goes away: failed. */
static int watch_on(struct watch *watch, struct gs_sampler *sampler)
{
	struct pollfd reader = {.fd = STDOUT_FILENO};
	struct gs_error error;

	for (;;) {
		if (gs_sampler_read(sampler, on_sampled, watch, &error))
			return gs_ctl_fail("%s", error.text);
		fflush(stdout);
		if (ferror(stdout))
			return GS_CTL_FAILED;
		if (is_ended || (watch->limit && watch->seen >= watch->limit))
			return GS_CTL_DONE;
		/* Nothing is asked for: only an end of the reader wakes it early. */
		if (poll(&reader, 1, TURN_MS) > 0 && reader.revents & (POLLERR | POLLHUP))
			return GS_CTL_FAILED;
	}
}

static int look(struct watch *watch)
{
	struct gs_sampler *sampler;
	struct gs_error error;
	int result;

	take_ends();
	if (gs_sampler_open(watch->ctl->pin_dir, &watch->ask, &sampler, &error))
		return gs_ctl_fail("%s", error.text);
	result = watch_on(watch, sampler);
	print_summary(watch, sampler);
	gs_sampler_close(sampler);
	return result;
}

static int monitor(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct watch watch = {.ctl = ctl};
	int result = take_arguments(&watch, argc, argv);

	if (result)
		return result;
	gs_ctl_names_load(ctl, &watch.names);
	if (watch.service)
		watch.ask.service = gs_ctl_name_id(&watch.names, GS_CTL_SERVICE, watch.service);
	result = watch.service && !watch.ask.service ? GS_CTL_FAILED : look(&watch);
	gs_ctl_names_done(&watch.names);
	return result;
}

const struct gs_ctl_command gs_ctl_monitor_commands[] = {
	{"monitor", "",
	 "[--every N] [--reason REASON|drop|tx|pass]... [--service NAME] [--src PREFIX] [--count N]",
	 "verdicts as they happen, one in N; drops always, up to a limit; ends by Ctrl-C (root)",
	 monitor},
	{NULL, NULL, NULL, NULL, NULL},
};

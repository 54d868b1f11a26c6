// SPDX-License-Identifier: Apache-2.0
/* geostream-loader: the packet path on and off an interface. Exit: 0 done, 1 failed, 2 usage. */
#include "loader/attach.h"
#include "loader/doctor.h"
#include "loader/doctor_facts.h"
#include "loader/doctor_report.h"
#include "loader/loader.h"
#include "loader/status.h"
#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum flag {
	OPTION_MODE = 'm',
	OPTION_OBJECT = 'o',
	OPTION_PIN_DIR = 'p',
	OPTION_JSON = 'j',
	OPTION_VERBOSE = 'v',
	OPTION_HELP = 'h',
	OPTION_VERSION = 'V',
	OPTION_BESIDE = 256,
	OPTION_FORCE,
	OPTION_PURGE,
	OPTION_FLOWS,
	OPTION_BACKEND,
	OPTION_VIP,
};

struct settings {
	struct gs_attach_request request;
	struct gs_doctor_facts facts; /* what the command line says of them */
	bool json;
	bool verbose;
	bool wants_help;
	bool wants_version;
	int given[32]; /* options as given, for commands that do not take them */
	size_t given_count;
};

struct command {
	const char *name;
	const char *arguments;
	const char *summary;
	const int *takes; /* options besides -p, -v, -h; ends with 0 */
	int (*run)(const struct settings *settings);
};

static int run_attach(const struct settings *settings);
static int run_replace(const struct settings *settings);
static int run_detach(const struct settings *settings);
static int run_status(const struct settings *settings);
static int run_doctor(const struct settings *settings);

static const struct command commands[] = {
	{"attach", "INTERFACE --mode MODE [--beside | --force] [--flows N] [-o FILE]",
	 "load the packet path and put it on the interface",
	 (const int[]){OPTION_MODE, OPTION_BESIDE, OPTION_FORCE, OPTION_FLOWS, OPTION_OBJECT, 0},
	 run_attach},
	{"replace", "INTERFACE [-o FILE]", "exchange the program; maps, mode and link stay",
	 (const int[]){OPTION_OBJECT, 0}, run_replace},
	{"detach", "INTERFACE [--purge]", "take it off; maps stay pinned unless --purge",
	 (const int[]){OPTION_PURGE, 0}, run_detach},
	{"status", "INTERFACE [-j]", "what the interface runs, and what is pinned",
	 (const int[]){OPTION_JSON, 0}, run_status},
	{"doctor", "INTERFACE [--backend [--vip ADDRESS ...]] [-j]",
	 "what would keep this machine from being a good edge (or backend), and remedies",
	 (const int[]){OPTION_BACKEND, OPTION_VIP, OPTION_JSON, 0}, run_doctor},
};

static const struct option long_options[] = {
	{"mode", required_argument, NULL, OPTION_MODE},
	{"object", required_argument, NULL, OPTION_OBJECT},
	{"pin-dir", required_argument, NULL, OPTION_PIN_DIR},
	{"json", no_argument, NULL, OPTION_JSON},
	{"verbose", no_argument, NULL, OPTION_VERBOSE},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"beside", no_argument, NULL, OPTION_BESIDE},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"purge", no_argument, NULL, OPTION_PURGE},
	{"flows", required_argument, NULL, OPTION_FLOWS},
	{"backend", no_argument, NULL, OPTION_BACKEND},
	{"vip", required_argument, NULL, OPTION_VIP},
	{0},
};

/* ---- words -----------------------------------------------------------------------------------*/

static void print_usage(FILE *out)
{
	fputs("Usage: geostream-loader COMMAND INTERFACE [OPTION ...]\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %s %s\n      %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	fputs("\n"
	      "  -m, --mode MODE     native (in the driver), generic (in the kernel's stack, any\n"
	      "                      interface) or offload (on the card); never chosen for you\n"
	      "      --beside        beside other XDP programs, through libxdp's dispatcher\n"
	      "      --force         take off the XDP program that another put there\n"
	      "      --flows N       buckets of 8 flows for a new flow table, a power of two\n"
	      "                      (65536)\n"
	      "      --purge         unpin maps and program too: tables and flows are lost\n"
	      "      --backend       doctor: judge a backend, INTERFACE is the one edges send to\n"
	      "      --vip ADDRESS   doctor: a service's address the backend answers from\n"
	      "  -o, --object FILE   BPF object (bpf/" GS_LOADER_OBJECT
	      " beside this program, else\n"
	      "                      " GS_PREFIX "/lib/geostream/bpf/)\n"
	      "  -p, --pin-dir DIR   folder of pins (GEOSTREAM_PIN_DIR, else " GS_PIN_DIR_DEFAULT
	      ")\n"
	      "  -j, --json          status, doctor: as JSON\n"
	      "  -v, --verbose       what libbpf and libxdp say, too\n"
	      "  -h, --help          this; -V, --version\n"
	      "\n"
	      "Exit status: 0 done, 1 failed (doctor: something is bad), 2 wrong usage.\n",
	      out);
}

static int __attribute__((format(printf, 1, 2))) fail_usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("geostream-loader: ", stderr);
	vfprintf(stderr, format, args);
	fputs(" (geostream-loader --help)\n", stderr);
	va_end(args);
	return EXIT_USAGE;
}

static int fail(const struct settings *settings, int code, const struct gs_loader_error *error)
{
	fprintf(stderr, "geostream-loader: %s: %s%s\n", settings->request.interface, error->text,
		code == -EPERM || (code == -EACCES && geteuid())
			? " (this needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"
			: "");
	return EXIT_FAILED;
}

/* ---- commands --------------------------------------------------------------------------------*/

static void say_attached(const struct gs_nic *nic)
{
	printf("%s: attached, %s, mode %s, program %s id %u", nic->name,
	       nic->holder == GS_NIC_DISPATCHER ? "beside others" : "alone",
	       gs_xdp_mode_name(nic->mode), nic->program.name, nic->program.id);
	if (nic->link_id)
		printf(", link %u", nic->link_id);
	fputc('\n', stdout);
}

static void say_replaced(const struct gs_nic *nic)
{
	if (nic->holder == GS_NIC_FOREIGN)
		printf("%s: replaced '%s' (id %u, tag %s), mode %s\n", nic->name, nic->program.name,
		       nic->program.id, nic->program.tag, gs_xdp_mode_name(nic->mode));
	for (uint32_t i = 0; i < nic->other_count; i++)
		printf("%s: replaced '%s' (id %u, tag %s) of libxdp's dispatcher\n", nic->name,
		       nic->others[i].name, nic->others[i].id, nic->others[i].tag);
}

static void say_leftovers(const struct gs_nic *nic)
{
	for (uint32_t i = 0; i < nic->leftover_count; i++)
		printf("%s: program %u removed: a replace had died half way and left it\n",
		       nic->name, nic->leftovers[i].id);
}

static int run_attach(const struct settings *settings)
{
	struct gs_loader_error error = {""};
	struct gs_attach_report report;
	int ret;

	if (settings->request.mode == GS_XDP_NONE)
		return fail_usage("attach: which --mode: native, generic or offload?");
	if (settings->request.beside && settings->request.force)
		return fail_usage("attach: --beside joins others, --force removes them: one of the "
				  "two");
	ret = gs_attach(&settings->request, &report, &error);
	if (ret)
		return fail(settings, ret, &error);
	if (settings->request.force)
		say_replaced(&report.before);
	say_attached(&report.after);
	printf("%s: maps %s %s\n", report.after.name,
	       report.made_maps ? "made and pinned in" : "taken over from",
	       settings->request.pin_dir);
	return EXIT_DONE;
}

static int run_replace(const struct settings *settings)
{
	struct gs_loader_error error = {""};
	struct gs_attach_report report;
	int ret = gs_replace(&settings->request, &report, &error);

	if (ret)
		return fail(settings, ret, &error);
	say_leftovers(&report.before);
	printf("%s: program %u replaced by %u\n", report.after.name, report.before.program.id,
	       report.after.program.id);
	say_attached(&report.after);
	return EXIT_DONE;
}

static int run_detach(const struct settings *settings)
{
	struct gs_loader_error error = {""};
	struct gs_attach_report report;
	int ret = gs_detach(&settings->request, &report, &error);

	if (ret)
		return fail(settings, ret, &error);
	say_leftovers(&report.before);
	printf("%s: %s", settings->request.interface,
	       report.was_attached ? "detached" : "was not attached");
	if (settings->request.purge)
		printf(", %u pins removed from %s\n", report.purged_pins,
		       settings->request.pin_dir);
	else
		printf(", maps stay in %s\n", settings->request.pin_dir);
	return EXIT_DONE;
}

static int run_status(const struct settings *settings)
{
	struct gs_loader_error error = {""};
	struct gs_status status;
	int ret = gs_status_read(settings->request.interface, settings->request.pin_dir, &status,
				 &error);

	if (ret)
		return fail(settings, ret, &error);
	if (!settings->json) {
		gs_status_print(&status, stdout);
		return EXIT_DONE;
	}
	ret = gs_status_print_json(&status, stdout);
	if (ret) {
		gs_loader_fail(&error, ret, "%s", strerror(-ret));
		return fail(settings, ret, &error);
	}
	return EXIT_DONE;
}

static int run_doctor(const struct settings *settings)
{
	struct gs_doctor_facts facts = settings->facts;
	struct gs_findings findings;
	bool is_bad;

	if (facts.vip_count && !facts.is_backend)
		return fail_usage("doctor: --vip is for --backend");
	gs_doctor_gather(settings->request.interface, settings->request.pin_dir, &facts);
	gs_doctor_judge(&facts, &findings);
	is_bad = gs_doctor_count(&findings, GS_LEVEL_BAD) > 0;
	if (!settings->json)
		gs_doctor_print(&findings, stdout);
	else if (gs_doctor_print_json(&facts, &findings, stdout))
		return EXIT_FAILED;
	return is_bad ? EXIT_FAILED : EXIT_DONE;
}

/* ---- command line ----------------------------------------------------------------------------*/

static int parse_flows(const char *text, uint32_t *ret_buckets)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < 1 ||
	    value > GS_FLOW_BUCKETS_MAX || (value & (value - 1)))
		return fail_usage("--flows '%s': wanted a power of two up to %u", text,
				  GS_FLOW_BUCKETS_MAX);
	*ret_buckets = (uint32_t)value;
	return 0;
}

static int parse_vip(const char *text, struct gs_doctor_facts *facts)
{
	if (facts->vip_count == GS_DOCTOR_VIPS_MAX)
		return fail_usage("--vip: %d at most", GS_DOCTOR_VIPS_MAX);
	if (gs_doctor_parse_vip(text, &facts->vips[facts->vip_count]))
		return fail_usage("--vip '%s': wanted an IPv4 or IPv6 address", text);
	facts->vip_count++;
	return 0;
}

static int take_option(int option, struct settings *settings)
{
	struct gs_attach_request *request = &settings->request;

	switch (option) {
	case OPTION_MODE:
		if (gs_xdp_mode_parse(optarg, &request->mode))
			return fail_usage("--mode '%s': wanted native, generic or offload", optarg);
		return 0;
	case OPTION_OBJECT:
		request->object_path = optarg;
		return 0;
	case OPTION_PIN_DIR:
		request->pin_dir = optarg;
		return 0;
	case OPTION_BESIDE:
		request->beside = true;
		return 0;
	case OPTION_FORCE:
		request->force = true;
		return 0;
	case OPTION_PURGE:
		request->purge = true;
		return 0;
	case OPTION_FLOWS:
		return parse_flows(optarg, &request->flow_buckets);
	case OPTION_BACKEND:
		settings->facts.is_backend = true;
		return 0;
	case OPTION_VIP:
		return parse_vip(optarg, &settings->facts);
	case OPTION_JSON:
		settings->json = true;
		return 0;
	case OPTION_VERBOSE:
		settings->verbose = true;
		return 0;
	case OPTION_HELP:
		settings->wants_help = true;
		return 0;
	case OPTION_VERSION:
		settings->wants_version = true;
		return 0;
	default:
		return EXIT_USAGE; /* getopt has said what */
	}
}

static int parse(int argc, char **argv, struct settings *settings)
{
	int option, ret;

	while ((option = getopt_long(argc, argv, "m:o:p:jvhV", long_options, NULL)) != -1) {
		ret = take_option(option, settings);
		if (ret)
			return ret;
		if (settings->given_count < ARRAY_SIZE(settings->given))
			settings->given[settings->given_count++] = option;
	}
	return 0;
}

static const char *option_name(int option)
{
	for (const struct option *one = long_options; one->name; one++) {
		if (one->val == option)
			return one->name;
	}
	return "?";
}

/* An option that means nothing to a command is a mistake, not a detail. */
static int check_options(const struct command *command, const struct settings *settings)
{
	for (size_t i = 0; i < settings->given_count; i++) {
		int option = settings->given[i];
		const int *taken = command->takes;

		if (option == OPTION_PIN_DIR || option == OPTION_VERBOSE)
			continue;
		while (*taken && *taken != option)
			taken++;
		if (!*taken)
			return fail_usage("%s takes no --%s", command->name, option_name(option));
	}
	return 0;
}

static int run_command(const struct command *command, int argc, char **argv,
		       struct settings *settings)
{
	int ret = check_options(command, settings);

	if (ret)
		return ret;
	if (argc != 1)
		return fail_usage(argc ? "%s: one interface, please" : "%s: which interface?",
				  command->name);
	settings->request.interface = argv[0];
	gs_loader_listen(settings->verbose);
	return command->run(settings);
}

int main(int argc, char **argv)
{
	const char *pin_dir = getenv("GEOSTREAM_PIN_DIR");
	struct settings settings = {
		.request.pin_dir = pin_dir && *pin_dir ? pin_dir : GS_PIN_DIR_DEFAULT,
	};
	int ret = parse(argc, argv, &settings);

	if (ret)
		return ret;
	if (settings.wants_help) {
		print_usage(stdout);
		return EXIT_DONE;
	}
	if (settings.wants_version) {
		puts("geostream-loader " GS_VERSION);
		return EXIT_DONE;
	}
	if (optind == argc) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(argv[optind], commands[i].name))
			return run_command(&commands[i], argc - optind - 1, argv + optind + 1,
					   &settings);
	}
	return fail_usage("unknown command '%s'", argv[optind]);
}

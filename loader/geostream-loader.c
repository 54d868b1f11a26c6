// SPDX-License-Identifier: Apache-2.0
/* geostream-loader: the packet path on and off an interface. Exit: 0 done, 1 failed, 2 usage. */
#include "loader/attach.h"
#include "loader/decap.h"
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
	OPTION_NAT_PLANES,
	OPTION_BACKEND,
	OPTION_VIP,
	OPTION_EDGE,
	OPTION_MSS,
	OPTION_FORWARD,
};

struct settings {
	struct gs_attach_request request;
	struct gs_decap_request decap;
	struct gs_doctor_facts facts; /* what the command line says of them */
	const char *pin_dir;	      /* as given; NULL: each command's own */
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
static int run_decap_attach(const struct settings *settings);
static int run_decap_detach(const struct settings *settings);
static int run_decap_status(const struct settings *settings);

static const struct command commands[] = {
	{"attach",
	 "INTERFACE --mode MODE [--beside | --force] [--flows N] [--nat-planes N] [-o FILE]",
	 "load the packet path and put it on the interface",
	 (const int[]){OPTION_MODE, OPTION_BESIDE, OPTION_FORCE, OPTION_FLOWS, OPTION_NAT_PLANES,
		       OPTION_OBJECT, 0},
	 run_attach},
	{"replace", "INTERFACE [-o FILE]", "exchange the program; maps, mode and link stay",
	 (const int[]){OPTION_OBJECT, 0}, run_replace},
	{"detach", "INTERFACE [--purge]", "take it off; maps stay pinned unless --purge",
	 (const int[]){OPTION_PURGE, 0}, run_detach},
	{"status", "INTERFACE [-j]", "what the interface runs, and what is pinned",
	 (const int[]){OPTION_JSON, 0}, run_status},
	{"doctor",
	 "INTERFACE [--backend [--forward MODE] [--edge PREFIX ...] [--vip ADDRESS ...]] [-j]",
	 "what would keep this machine from being a good edge (or backend), and remedies",
	 (const int[]){OPTION_BACKEND, OPTION_FORWARD, OPTION_EDGE, OPTION_VIP, OPTION_JSON, 0},
	 run_doctor},
};

/* `decap` and one of these: the backend kit. */
static const struct command decap_commands[] = {
	{"attach",
	 "INTERFACE --mode MODE --edge PREFIX ... --vip ADDRESS ... [--mss auto|off|BYTES] [-o FILE]",
	 "on a backend: take packets of these edges for these VIPs out of their tunnels; again:\n"
	 "      other lists, in one step",
	 (const int[]){OPTION_MODE, OPTION_EDGE, OPTION_VIP, OPTION_MSS, OPTION_OBJECT, 0},
	 run_decap_attach},
	{"detach", "INTERFACE", "take it off", (const int[]){0}, run_decap_detach},
	{"status", "[INTERFACE] [-j]", "what it believes and what it has counted",
	 (const int[]){OPTION_JSON, 0}, run_decap_status},
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
	{"nat-planes", required_argument, NULL, OPTION_NAT_PLANES},
	{"backend", no_argument, NULL, OPTION_BACKEND},
	{"vip", required_argument, NULL, OPTION_VIP},
	{"edge", required_argument, NULL, OPTION_EDGE},
	{"mss", required_argument, NULL, OPTION_MSS},
	{"forward", required_argument, NULL, OPTION_FORWARD},
	{0},
};

/* ---- words -----------------------------------------------------------------------------------*/

static void print_commands(FILE *out, const char *group, const struct command *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fprintf(out, "  %s%s %s\n      %s\n", group, list[i].name, list[i].arguments,
			list[i].summary);
}

static void print_usage(FILE *out)
{
	fputs("Usage: geostream-loader COMMAND INTERFACE [OPTION ...]\n\n", out);
	print_commands(out, "", commands, ARRAY_SIZE(commands));
	print_commands(out, "decap ", decap_commands, ARRAY_SIZE(decap_commands));
	fputs("\n"
	      "  -m, --mode MODE     native (in the driver), generic (in the kernel's stack, any\n"
	      "                      interface) or offload (on the card); never chosen for you\n"
	      "      --beside        beside other XDP programs, through libxdp's dispatcher\n"
	      "      --force         take off the XDP program that another put there\n"
	      "      --flows N       buckets of 8 flows for a new flow table, a power of two\n"
	      "                      (65536)\n"
	      "      --nat-planes N  planes of 31744 flows for a new NAT table, a power of two (4)\n"
	      "      --purge         unpin maps and program too: tables and flows are lost\n"
	      "      --backend       doctor: judge a backend, INTERFACE is the one edges send to\n"
	      "      --forward MODE  doctor: how edges send to it: ipip, gue, l2 or nat (ipip)\n"
	      "      --edge PREFIX   an edge's address, or all of a network's, which backends believe\n"
	      "      --vip ADDRESS   a service's address the backend answers from\n"
	      "      --mss WHAT      decap: what SYN-ACKs ask for at most: auto (what fits the\n"
	      "                      interface's MTU in a tunnel), off, or BYTES\n"
	      "  -o, --object FILE   BPF object (bpf/" GS_LOADER_OBJECT
	      " beside this program, else\n"
	      "                      " GS_PREFIX "/lib/geostream/bpf/)\n"
	      "  -p, --pin-dir DIR   folder of pins (GEOSTREAM_PIN_DIR, else " GS_PIN_DIR_DEFAULT
	      ";\n"
	      "                      decap: GEOSTREAM_DECAP_PIN_DIR, else\n"
	      "                      " GS_DECAP_PIN_DIR ")\n"
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
	static struct gs_doctor_facts facts;
	static struct gs_findings findings;
	bool is_bad;

	facts = settings->facts;
	if (facts.vip_count && !facts.is_backend)
		return fail_usage("doctor: --vip is for --backend");
	if ((facts.edge_count || facts.forward) && !facts.is_backend)
		return fail_usage("doctor: --edge and --forward are for --backend");
	gs_doctor_gather(settings->request.interface, settings->request.pin_dir,
			 settings->decap.pin_dir, &facts);
	gs_doctor_judge(&facts, &findings);
	is_bad = gs_doctor_count(&findings, GS_LEVEL_BAD) > 0;
	if (!settings->json)
		gs_doctor_print(&findings, stdout);
	else if (gs_doctor_print_json(&facts, &findings, stdout))
		return EXIT_FAILED;
	return is_bad ? EXIT_FAILED : EXIT_DONE;
}

static int run_decap_attach(const struct settings *settings)
{
	static struct gs_decap_report report;
	struct gs_loader_error error = {""};
	int ret = gs_decap_attach(&settings->decap, &report, &error);

	if (ret)
		return fail(settings, ret, &error);
	if (report.was_attached)
		printf("%s: exchanged in one step; counters go on\n", report.after.nic.name);
	gs_decap_print(&report.after, stdout);
	return EXIT_DONE;
}

static int run_decap_detach(const struct settings *settings)
{
	static struct gs_decap_report report;
	struct gs_loader_error error = {""};
	int ret = gs_decap_detach(&settings->decap, &report, &error);

	if (ret)
		return fail(settings, ret, &error);
	printf("%s: %s\n", settings->decap.interface,
	       report.was_attached ? "detached" : "was not attached; its pins are gone");
	return EXIT_DONE;
}

struct decap_list {
	const struct settings *settings;
	bool is_first;
};

/* An interface without the kit is no error; one that is gone has left a folder. */
static int show_decap(const char *interface, void *context)
{
	struct decap_list *list = context;
	static struct gs_decap_status status;
	struct gs_loader_error error = {""};
	int ret = gs_decap_read(interface, list->settings->decap.pin_dir, &status, &error);

	if (ret) {
		fprintf(stderr, "geostream-loader: %s: %s\n", interface, error.text);
		return ret == -ENODEV && !list->settings->decap.interface ? 0 : ret;
	}
	if (!list->settings->json) {
		gs_decap_print(&status, stdout);
		return 0;
	}
	if (!list->settings->decap.interface)
		fputs(list->is_first ? "" : ",\n", stdout);
	list->is_first = false;
	return gs_decap_print_json(&status, stdout);
}

static int run_decap_status(const struct settings *settings)
{
	struct decap_list list = {.settings = settings, .is_first = true};
	bool is_list = settings->json && !settings->decap.interface;
	int ret;

	if (is_list)
		fputs("[\n", stdout);
	if (settings->decap.interface)
		ret = show_decap(settings->decap.interface, &list);
	else
		ret = gs_decap_each(settings->decap.pin_dir, show_decap, &list);
	if (is_list)
		fputs("]\n", stdout);
	else if (settings->json)
		fputc('\n', stdout);
	return ret ? EXIT_FAILED : EXIT_DONE;
}

/* ---- command line ----------------------------------------------------------------------------*/

static int parse_size(const char *option, const char *text, uint32_t most, uint32_t *ret_size)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < 1 || value > most ||
	    (value & (value - 1)))
		return fail_usage("%s '%s': wanted a power of two up to %u", option, text, most);
	*ret_size = (uint32_t)value;
	return 0;
}

/* For decap and for the doctor, whichever asks. */
static int parse_vip(const char *text, struct settings *settings)
{
	struct gs_doctor_facts *facts = &settings->facts;
	struct gs_decap_lists *lists = &settings->decap.lists;

	if (lists->vip_count == GS_DECAP_MAX_VIPS)
		return fail_usage("--vip: %u at most", GS_DECAP_MAX_VIPS);
	if (gs_decap_parse_vip(text, &lists->vips[lists->vip_count++]))
		return fail_usage("--vip '%s': wanted an IPv4 or IPv6 address", text);
	if (facts->vip_count < GS_DOCTOR_VIPS_MAX)
		gs_doctor_parse_vip(text, &facts->vips[facts->vip_count++]);
	return 0;
}

static int parse_edge(const char *text, struct settings *settings)
{
	struct gs_doctor_facts *facts = &settings->facts;
	struct gs_decap_lists *lists = &settings->decap.lists;

	if (lists->edge_count == GS_DECAP_MAX_EDGES)
		return fail_usage("--edge: %u at most", GS_DECAP_MAX_EDGES);
	if (gs_decap_parse_edge(text, &lists->edges[lists->edge_count]))
		return fail_usage("--edge '%s': wanted an IPv4 or IPv6 address, or a network as "
				  "192.0.2.0/24, without bits behind its length",
				  text);
	if (facts->edge_count < GS_DOCTOR_EDGES_MAX)
		facts->edges[facts->edge_count++] = lists->edges[lists->edge_count];
	lists->edge_count++;
	return 0;
}

static int parse_mss(const char *text, struct gs_decap_request *request)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	request->mss = GS_DECAP_MSS_FIXED;
	if (!strcmp(text, "auto"))
		request->mss = GS_DECAP_MSS_AUTO;
	else if (!strcmp(text, "off"))
		request->mss = GS_DECAP_MSS_OFF;
	else if (*end || text[0] < '0' || text[0] > '9' || value < 88 || value > 65495)
		return fail_usage("--mss '%s': wanted auto, off, or 88 to 65495 bytes", text);
	request->mss_bytes = (uint16_t)value;
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
		settings->pin_dir = optarg;
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
		return parse_size("--flows", optarg, GS_FLOW_BUCKETS_MAX, &request->flow_buckets);
	case OPTION_NAT_PLANES:
		return parse_size("--nat-planes", optarg, GS_NAT_PLANES_MAX, &request->nat_planes);
	case OPTION_BACKEND:
		settings->facts.is_backend = true;
		return 0;
	case OPTION_VIP:
		return parse_vip(optarg, settings);
	case OPTION_EDGE:
		return parse_edge(optarg, settings);
	case OPTION_MSS:
		return parse_mss(optarg, &settings->decap);
	case OPTION_FORWARD:
		if (gs_doctor_parse_forward(optarg, &settings->facts.forward))
			return fail_usage("--forward '%s': wanted ipip, gue, l2 or nat", optarg);
		return 0;
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
	if (argc > 1 || (argc == 0 && command->run != run_decap_status))
		return fail_usage(argc ? "%s: one interface, please" : "%s: which interface?",
				  command->name);
	settings->request.interface = argv[0]; /* NULL: none */
	settings->decap.interface = argv[0];
	settings->decap.object_path = settings->request.object_path;
	settings->decap.mode = settings->request.mode;
	gs_loader_listen(settings->verbose);
	return command->run(settings);
}

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static int find_and_run(int argc, char **argv, struct settings *settings)
{
	const struct command *list = commands;
	size_t count = ARRAY_SIZE(commands);
	int skip = optind;

	if (!strcmp(argv[skip], "decap")) {
		list = decap_commands;
		count = ARRAY_SIZE(decap_commands);
		if (++skip == argc)
			return fail_usage("decap: attach, detach or status?");
	}
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(argv[skip], list[i].name))
			return run_command(&list[i], argc - skip - 1, argv + skip + 1, settings);
	}
	return fail_usage("unknown command '%s'", argv[skip]);
}

int main(int argc, char **argv)
{
	static struct settings settings = {.decap.mss = GS_DECAP_MSS_AUTO};
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
	settings.request.pin_dir = settings.pin_dir;
	settings.decap.pin_dir = settings.pin_dir;
	if (!settings.pin_dir)
		settings.request.pin_dir =
			from_environment("GEOSTREAM_PIN_DIR", GS_PIN_DIR_DEFAULT);
	/* --pin-dir of the doctor is the edge's */
	if (!settings.pin_dir || strcmp(argv[optind], "decap") != 0)
		settings.decap.pin_dir =
			from_environment("GEOSTREAM_DECAP_PIN_DIR", GS_DECAP_PIN_DIR);
	return find_and_run(argc, argv, &settings);
}

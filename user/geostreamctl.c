// SPDX-License-Identifier: Apache-2.0
/*
 * The controller's CLI: OBJECT VERB [ARGUMENT ...], tables of commands. -j may stand
 * anywhere; all other options of its own come before the object.
 */
#include "user/app/config.h"
#include "user/base/cleanup.h"
#include "user/base/suggest.h"
#include "user/ctl/ctl_ask.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum { COMMANDS_MAX = 128 };

const struct gs_ctl_command *const gs_ctl_tables[] = {
	gs_ctl_daemon_commands,	 gs_ctl_geo_commands,	    gs_ctl_edge_commands,
	gs_ctl_live_commands,	 gs_ctl_db_commands,	    gs_ctl_history_commands,
	gs_ctl_file_commands,	 gs_ctl_explain_commands,   gs_ctl_monitor_commands,
	gs_ctl_flow_commands,	 gs_ctl_handshake_commands, gs_ctl_demand_commands,
	gs_ctl_latency_commands, gs_ctl_capacity_commands,  gs_ctl_votes_commands,
	gs_ctl_quorum_commands,	 gs_ctl_overlay_commands,   NULL,
};

/* What people typed and databases said may hold what a terminal would act on. */
__attribute__((format(printf, 1, 0))) static void print_error(const char *format, va_list arguments)
{
	char text[2 * GS_ERROR_MAX];

	vsnprintf(text, sizeof(text), format, arguments);
	gs_ctl_clean(text);
	fputs(text, stderr);
}

__attribute__((format(printf, 1, 2))) static void print_line_start(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_error(format, arguments);
	va_end(arguments);
}

int gs_ctl_fail(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fputs("geostreamctl: ", stderr);
	va_start(arguments, format);
	print_error(format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return GS_CTL_FAILED;
}

/* ---- the tables ------------------------------------------------------------------------------ */

static const struct gs_ctl_command *find_command(const char *object, const char *verb)
{
	for (size_t i = 0; gs_ctl_tables[i]; i++)
		for (const struct gs_ctl_command *c = gs_ctl_tables[i]; c->object; c++)
			if (strcmp(c->object, object) == 0 && strcmp(c->verb, verb) == 0)
				return c;
	return NULL;
}

/* Distinct objects (object NULL), or the verbs of one; as many as fit. */
static size_t list_words(const char *object, const char *words[COMMANDS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; gs_ctl_tables[i]; i++) {
		for (const struct gs_ctl_command *c = gs_ctl_tables[i]; c->object; c++) {
			const char *word = object ? c->verb : c->object;
			bool is_new = !object || strcmp(c->object, object) == 0;

			for (size_t j = 0; j < count; j++)
				is_new = is_new && strcmp(words[j], word) != 0;
			if (is_new && count < COMMANDS_MAX)
				words[count++] = word;
		}
	}
	return count;
}

static void print_usage_line(FILE *file, const struct gs_ctl_command *c)
{
	fprintf(file, "usage: geostreamctl %s%s%s%s%s\n", c->object, *c->verb ? " " : "", c->verb,
		*c->arguments ? " " : "", c->arguments);
}

int gs_ctl_usage(const char *object, const char *verb, const char *format, ...)
{
	const struct gs_ctl_command *command = find_command(object, verb);
	va_list arguments;

	fprintf(stderr, "geostreamctl: %s%s%s: ", object, *verb ? " " : "", verb);
	va_start(arguments, format);
	print_error(format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	if (command)
		print_usage_line(stderr, command);
	return GS_CTL_USAGE;
}

int gs_ctl_unexpected(const char *object, const char *verb, const char *option,
		      const char *const *options, size_t count)
{
	const char *nearest = gs_suggest(option, options, count);

	return gs_ctl_usage(object, verb, "unexpected \"%s\"%s%s%s", option,
			    nearest ? "; did you mean '" : "", nearest ? nearest : "",
			    nearest ? "'?" : "");
}

bool gs_ctl_digits(const char *text, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno)
		return false;
	*ret_number = number;
	return true;
}

/* The help, and with it the manual page, by what people are after. Each object is in one. */
static const struct group {
	const char *heading;
	const char *objects[9]; /* ends with NULL */
} GROUPS[] = {
	{"objects", {"service", "region", "backend", "policy", "override", "fence", "access"}},
	{"the whole configuration", {"apply", "export", "db"}},
	{"health and breakers", {"health", "breaker"}},
	{"history", {"history", "audit"}},
	{"routing",
	 {"route", "explain", "monitor", "flow", "handshake", "demand", "latency", "capacity"}},
	{"daemon, edges and GeoIP", {"status", "edge", "vote", "quorum", "geo"}},
};

static void print_command(const struct gs_ctl_command *c)
{
	char head[200];

	snprintf(head, sizeof(head), "%s%s%s%s%s", c->object, *c->verb ? " " : "", c->verb,
		 *c->arguments ? " " : "", c->arguments);
	if (strlen(head) <= 44)
		printf("  %-44s %s\n", head, c->summary);
	else
		printf("  %s\n  %-44s %s\n", head, "", c->summary);
}

static void print_commands_of(const char *object)
{
	for (size_t i = 0; gs_ctl_tables[i]; i++)
		for (const struct gs_ctl_command *c = gs_ctl_tables[i]; c->object; c++)
			if (strcmp(c->object, object) == 0)
				print_command(c);
}

static int print_help(void)
{
	printf("usage: geostreamctl [OPTION ...] OBJECT VERB [ARGUMENT ...]\n");
	for (size_t g = 0; g < ARRAY_SIZE(GROUPS); g++) {
		printf("\n%s:\n", GROUPS[g].heading);
		for (size_t o = 0; GROUPS[g].objects[o]; o++)
			print_commands_of(GROUPS[g].objects[o]);
	}
	printf("\noptions:\n"
	       "  -j, --json            results as JSON; may stand anywhere\n"
	       "  -c, --config FILE     geostream.conf (GEOSTREAM_CONFIG, %s)\n"
	       "  -s, --socket PATH     the daemon's socket (GEOSTREAM_SOCKET, configuration)\n"
	       "  -d, --database URI    PostgreSQL (GEOSTREAM_DATABASE, configuration, libpq's PG*)\n"
	       "  -a, --actor NAME      who makes a change, for the audit (GEOSTREAM_ACTOR, user@host)\n"
	       "  -h, --help            this, or a command's usage\n"
	       "      --version\n\n"
	       "exit code: 0 done, 1 failed, 2 usage\n",
	       GS_CONFIG_PATH_DEFAULT);
	return GS_CTL_DONE;
}

static int unknown_word(const char *what, const char *object, const char *word)
{
	const char *words[COMMANDS_MAX], *nearest;
	size_t count = list_words(object, words);

	nearest = gs_suggest(word, words, count);
	if (*word)
		print_line_start("geostreamctl: no %s '%s'", what, word);
	else
		fprintf(stderr, "geostreamctl: %s: a %s is missing", object ? object : "", what);
	if (nearest)
		fprintf(stderr, "; did you mean '%s'?", nearest);
	fputs(object ? "\n" : "\nobjects:", stderr);
	if (object)
		fprintf(stderr, "%s:", object);
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, " %s", words[i]);
	fputs("\ngeostreamctl --help explains them\n", stderr);
	return GS_CTL_USAGE;
}

/* ---- options --------------------------------------------------------------------------------- */

static void on_problem(void *context, const char *place, const char *text)
{
	(void)context;
	gs_ctl_fail("%s: %s", place, text);
}

/* Only what flags leave open. The default file may be absent, or not for everybody's eyes. */
static int read_config(struct gs_ctl *ctl, struct gs_config *config)
{
	const struct gs_config_problems problems = {.on_problem = on_problem};
	const char *path = ctl->config_path ? ctl->config_path : getenv("GEOSTREAM_CONFIG");
	int err = 0;

	gs_config_default(config);
	if (path)
		err = gs_config_read_file(config, path, &problems);
	else if (access(GS_CONFIG_PATH_DEFAULT, R_OK) == 0)
		err = gs_config_read_file(config, GS_CONFIG_PATH_DEFAULT, &problems);
	ctl->config_path = path ? path : GS_CONFIG_PATH_DEFAULT;
	if (err || gs_config_read_environment(config, &problems))
		return GS_CTL_FAILED;
	if (!ctl->socket_path)
		ctl->socket_path = config->socket;
	if (!ctl->conninfo)
		ctl->conninfo = config->database;
	ctl->pin_dir = config->pin_dir;
	ctl->state_dir = config->state_dir;
	return GS_CTL_DONE;
}

/* Takes -j, --json out of the arguments; true if it was there. */
static bool take_json(int *argc, char **argv)
{
	bool found = false;
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0)
			found = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	*argc = kept;
	return found;
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* The commands of one object. */
static int print_object_help(const char *object)
{
	for (size_t i = 0; gs_ctl_tables[i]; i++) {
		for (const struct gs_ctl_command *c = gs_ctl_tables[i]; c->object; c++) {
			if (strcmp(c->object, object) != 0)
				continue;
			print_usage_line(stdout, c);
			printf("  %s\n", c->summary);
		}
	}
	return GS_CTL_DONE;
}

/* For the shell's completion (ctl/geostreamctl.bash): "object verb" or "object", a line each. */
static int print_commands(void)
{
	for (size_t i = 0; gs_ctl_tables[i]; i++)
		for (const struct gs_ctl_command *c = gs_ctl_tables[i]; c->object; c++)
			printf("%s%s%s\n", c->object, *c->verb ? " " : "", c->verb);
	return GS_CTL_DONE;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int run(struct gs_ctl *ctl, int argc, char **argv)
{
	const struct gs_ctl_command *command = find_command(argv[0], "");
	const char *words[COMMANDS_MAX];
	struct gs_config config;
	int used = 1;

	if (is_help(argv[0]))
		return print_help();
	if (strcmp(argv[0], "complete") == 0)
		return print_commands();
	if (!command) {
		if (list_words(argv[0], words) == 0)
			return unknown_word("object", NULL, argv[0]);
		if (argc < 2)
			return unknown_word("verb", argv[0], "");
		if (is_help(argv[1]))
			return print_object_help(argv[0]);
		command = find_command(argv[0], argv[1]);
		if (!command)
			return unknown_word("verb", argv[0], argv[1]);
		used = 2;
	}
	if (wants_help(argc - used, argv + used)) {
		print_usage_line(stdout, command);
		printf("  %s\n", command->summary);
		return GS_CTL_DONE;
	}
	if (read_config(ctl, &config))
		return GS_CTL_FAILED;
	return command->run(ctl, argc - used, argv + used);
}

/* Who sits there, as far as the environment says: a claim, which the audit keeps beside the role.
 */
static const char *name_actor(char *out, size_t room)
{
	const char *actor = getenv("GEOSTREAM_ACTOR"), *user = getenv("SUDO_USER");
	const struct passwd *entry = getpwuid(getuid());
	char host[GS_NAME_MAX / 2] = "";

	if (actor && *actor)
		return actor;
	if ((!user || !*user) && entry)
		user = entry->pw_name;
	gethostname(host, sizeof(host) - 1);
	snprintf(out, room, "%.31s@%s", user && *user ? user : "?", host);
	return out;
}

int main(int argc, char **argv)
{
	static const struct option OPTIONS[] = {
		{"config", required_argument, NULL, 'c'},
		{"socket", required_argument, NULL, 's'},
		{"database", required_argument, NULL, 'd'},
		{"actor", required_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct gs_ctl ctl = {.json = take_json(&argc, argv)};
	char actor[GS_NAME_MAX];
	int option, result;

	while ((option = getopt_long(argc, argv, "+c:s:d:a:h", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'c':
			ctl.config_path = optarg;
			break;
		case 's':
			ctl.socket_path = optarg;
			break;
		case 'd':
			ctl.conninfo = optarg;
			break;
		case 'a':
			ctl.actor = optarg;
			break;
		case 'h':
			return print_help();
		case 'V':
			printf("geostreamctl %s\n", GS_VERSION);
			return GS_CTL_DONE;
		default:
			fputs("geostreamctl --help explains the options\n", stderr);
			return GS_CTL_USAGE;
		}
	}
	if (!ctl.actor)
		ctl.actor = name_actor(actor, sizeof(actor));
	if (optind == argc) {
		fputs("geostreamctl: an object is missing; geostreamctl --help lists them\n",
		      stderr);
		return GS_CTL_USAGE;
	}
	result = run(&ctl, argc - optind, argv + optind);
	if (fflush(stdout) || ferror(stdout))
		return gs_ctl_fail("cannot write the result: %s", strerror(errno));
	return result;
}

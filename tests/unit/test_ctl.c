/* SPDX-License-Identifier: Apache-2.0 */
/* geostreamctl, asking a daemon that answers whatever a test has it answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the daemon ------------------------------------------------------------------------------ */

/* A line break, an escape, DEL, and the C1 control that begins an escape, in UTF-8; as JSON. */
#define EVIL "\"a\\n\\u001b[31m\\u007f\\u009b31m\\u00f6\""
#define SHOWN "a??[31m???31m\xc3\xb6"
#define EVIL_AS_IT_IS "a\n\033[31m\177\302\23331m\303\266"

/* Answers the n-th who asks with the n-th of the answers; is gone after the last. */
struct daemon {
	char folder[32], path[64];
	const char *const *answers;
	int listener;
	pthread_t thread;
};

static void answer_one(int client, const char *answer)
{
	char request[1024];
	size_t length = 0;

	while (length < sizeof(request) && (length == 0 || request[length - 1] != '\n')) {
		ssize_t n = read(client, request + length, sizeof(request) - length);

		if (n <= 0)
			return;
		length += (size_t)n;
	}
	dprintf(client, "%s\n", answer);
}

static void *answer_all(void *context)
{
	struct daemon *daemon = context;

	for (size_t i = 0; daemon->answers[i]; i++) {
		int client = accept4(daemon->listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			break;
		answer_one(client, daemon->answers[i]);
		close(client);
	}
	close(daemon->listener);
	return NULL;
}

static void daemon_start(struct daemon *daemon, const char *const answers[])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(daemon->folder, sizeof(daemon->folder), "/tmp/gs-ctl-XXXXXX");
	assert_non_null(mkdtemp(daemon->folder));
	snprintf(daemon->path, sizeof(daemon->path), "%s/sock", daemon->folder);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->path);
	daemon->answers = answers;
	daemon->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(daemon->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(daemon->listener, 8), 0);
	assert_int_equal(pthread_create(&daemon->thread, NULL, answer_all, daemon), 0);
}

/* All its answers must have been asked for. */
static void daemon_end(struct daemon *daemon)
{
	pthread_join(daemon->thread, NULL);
	unlink(daemon->path);
	rmdir(daemon->folder);
}

/* ---- geostreamctl ---------------------------------------------------------------------------- */

/* Both outputs; the exit code. */
static int run(const struct daemon *daemon, const char *arguments, char said[8192])
{
	const char *build = getenv("BUILD");
	char command[512];
	size_t length;
	FILE *pipe;
	int status;

	/* A configuration or a database of the machine must not matter. */
	snprintf(command, sizeof(command), "env -i %.80s/geostreamctl -s %s %.300s 2>&1 </dev/null",
		 build ? build : "build", daemon->path, arguments);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	length = fread(said, 1, 8191, pipe);
	said[length] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* How often it is there. */
static size_t count(const char *text, const char *part)
{
	size_t found = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		found++;
	return found;
}

static bool acts_on_terminals(const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++)
		if ((*at < ' ' && *at != '\n') || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0))
			return true;
	return false;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_daemons_words_move_no_terminal(void **state)
{
	static const struct {
		const char *arguments, *answer;
		size_t lines, times;
	} cases[] = {
		{"status",
		 "{\"edge\":" EVIL ",\"version\":" EVIL
		 ",\"database\":{\"connected\":true,\"why\":" EVIL "},\"publish_problem\":" EVIL
		 ",\"generation\":{\"number\":1,\"digest\":" EVIL "},\"geoip\":{\"file\":" EVIL
		 ",\"type\":" EVIL ",\"problem\":" EVIL "},\"services\":[{\"name\":" EVIL
		 ",\"vip\":" EVIL ",\"protocol\":" EVIL "}],\"regions\":[{\"name\":" EVIL
		 ",\"state\":" EVIL ",\"admin\":" EVIL "}],\"backends\":[{\"name\":" EVIL
		 ",\"state\":" EVIL ",\"region\":" EVIL ",\"health\":" EVIL ",\"address\":" EVIL
		 "}],\"reasons\":{" EVIL ":1}}",
		 10, 20},
		{"status", "{\"database\":{\"why\":" EVIL "}}", 4, 1},
		{"health list",
		 "{\"backends\":[{\"name\":" EVIL ",\"service\":" EVIL ",\"region\":" EVIL
		 ",\"state\":" EVIL ",\"health\":" EVIL ",\"last_failure\":" EVIL "}]}",
		 1, 6},
		{"breaker list",
		 "{\"breakers\":[{\"service\":" EVIL ",\"region\":" EVIL ",\"state\":" EVIL
		 ",\"pool\":" EVIL ",\"why\":" EVIL ",\"forced\":{\"state\":" EVIL
		 ",\"expires\":" EVIL ",\"actor\":" EVIL "}}]}",
		 1, 8},
		{"route get 192.0.2.1",
		 "{\"client\":" EVIL ",\"service\":" EVIL ",\"policy\":" EVIL
		 ",\"policy_kind\":" EVIL ",\"match\":{\"embedded_ipv4\":" EVIL
		 ",\"source\":\"override\",\"prefix\":" EVIL ",\"region\":" EVIL ",\"reason\":" EVIL
		 "},\"location\":{\"id\":1,\"country\":" EVIL ",\"subdivision\":" EVIL
		 ",\"continent\":" EVIL "},\"candidates\":[{\"region\":" EVIL ",\"state\":" EVIL
		 ",\"admin\":" EVIL ",\"why\":" EVIL "}],\"winner\":{\"region\":" EVIL
		 ",\"why\":" EVIL ",\"backends\":[{\"name\":" EVIL ",\"state\":" EVIL
		 ",\"health\":" EVIL ",\"admin\":" EVIL ",\"address\":" EVIL "}]}}",
		 8, 22},
		{"geo show 192.0.2.1",
		 "{\"address\":" EVIL ",\"prefix\":" EVIL ",\"file\":" EVIL
		 ",\"location\":{\"id\":1,\"country\":" EVIL "}}",
		 3, 4},
		{"geo load /dev/null", "{\"note\":" EVIL "}", 2, 1},
		{"status", "{\"error\":" EVIL "}", 1, 1},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *answers[] = {cases[i].answer, NULL};
		struct daemon daemon;
		char said[8192];

		daemon_start(&daemon, answers);
		run(&daemon, cases[i].arguments, said);
		daemon_end(&daemon);
		if (acts_on_terminals(said) || count(said, "\n") != cases[i].lines ||
		    count(said, SHOWN) != cases[i].times)
			fail_msg("%s says, in %zu lines, %zu times: %s", cases[i].arguments,
				 count(said, "\n"), count(said, SHOWN), said);
	}
}

static void json_has_all_and_moves_none(void **state)
{
	static const char *const answers[] = {"{\"edge\":" EVIL "}", NULL};
	struct daemon daemon;
	char said[8192];
	json_t *json;
	(void)state;

	daemon_start(&daemon, answers);
	assert_int_equal(run(&daemon, "-j status", said), 0);
	daemon_end(&daemon);
	assert_false(acts_on_terminals(said));
	json = json_loads(said, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "edge")), EVIL_AS_IT_IS);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_daemons_words_move_no_terminal),
		cmocka_unit_test(json_has_all_and_moves_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* geostreamctl, asking a daemon that answers whatever a test has it answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the daemon ------------------------------------------------------------------------------ */

/* A line break, an escape, DEL, and the C1 control that begins an escape, in UTF-8; as JSON. */
#define EVIL "\"a\\n\\u001b[31m\\u007f\\u009b31m\\u00f6\""
#define SHOWN "a??[31m???31m\xc3\xb6"
#define EVIL_AS_IT_IS "a\n\033[31m\177\302\23331m\303\266"

/*
 * Answers the n-th who asks with the n-th of the answers. After the last it is gone, or (forever)
 * says that one again.
 */
struct daemon {
	char folder[32], path[64];
	const char *const *answers;
	bool forever;
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
	/* Who asked may have gone. */
	if (send(client, answer, strlen(answer), MSG_NOSIGNAL) > 0)
		send(client, "\n", 1, MSG_NOSIGNAL);
}

static void *answer_all(void *context)
{
	struct daemon *daemon = context;

	for (size_t i = 0; daemon->answers[i]; i += !daemon->forever || daemon->answers[i + 1]) {
		int client = accept4(daemon->listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			break;
		answer_one(client, daemon->answers[i]);
		close(client);
	}
	close(daemon->listener);
	return NULL;
}

static void daemon_start(struct daemon *daemon, const char *const answers[], bool forever)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(daemon->folder, sizeof(daemon->folder), "/tmp/gs-ctl-XXXXXX");
	assert_non_null(mkdtemp(daemon->folder));
	snprintf(daemon->path, sizeof(daemon->path), "%s/sock", daemon->folder);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->path);
	daemon->answers = answers;
	daemon->forever = forever;
	daemon->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(daemon->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(daemon->listener, 8), 0);
	assert_int_equal(pthread_create(&daemon->thread, NULL, answer_all, daemon), 0);
}

/* All its answers must have been asked for, unless it gives them forever. */
static void daemon_end(struct daemon *daemon)
{
	if (daemon->forever)
		shutdown(daemon->listener, SHUT_RDWR);
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
		{"geo load /dev/null",
		 "{\"error\":" EVIL ",\"change\":{\"file\":" EVIL ",\"before\":" EVIL
		 ",\"ipv4\":{\"service\":" EVIL
		 "},\"traffic\":{\"sampled\":1,\"moves\":[{\"service\":" EVIL ",\"from\":" EVIL
		 ",\"to\":" EVIL "}]},\"moves\":[{\"service\":" EVIL ",\"from\":" EVIL
		 ",\"to\":" EVIL "}]}}",
		 7, 10},
		{"geo rollback", "{\"file\":" EVIL ",\"configured\":true}", 1, 1},
		{"geo cancel", "{\"file\":" EVIL "}", 1, 1},
		{"geo status",
		 "{\"geoip\":{\"file\":" EVIL ",\"type\":" EVIL ",\"problem\":" EVIL
		 ",\"before\":{\"file\":" EVIL "},\"change\":{\"same\":true,\"outcome\":" EVIL
		 ",\"when\":" EVIL ",\"file\":" EVIL ",\"before\":" EVIL
		 "}},\"limit_percent\":20,\"loading\":{\"file\":" EVIL ",\"phase\":" EVIL "}}",
		 8, 10},
		{"status", "{\"error\":" EVIL "}", 1, 1},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *answers[] = {cases[i].answer, NULL};
		struct daemon daemon;
		char said[8192];

		daemon_start(&daemon, answers, false);
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

	daemon_start(&daemon, answers, false);
	assert_int_equal(run(&daemon, "-j status", said), 0);
	daemon_end(&daemon);
	assert_false(acts_on_terminals(said));
	json = json_loads(said, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "edge")), EVIL_AS_IT_IS);
	json_decref(json);
}

#define BACKEND(name, state)                                                              \
	"{\"name\":\"" name "\",\"service\":\"web\",\"region\":\"eu\",\"state\":\"" state \
	"\",\"health\":\"" state "\",\"latency_us\":7,\"since_s\":3}"
#define BACKENDS(list) "{\"backends\":[" list "]}"

/* The first word of each line and its fourth: who, and how he is. */
static void shorten(const char *said, char *out, size_t room)
{
	char name[64], state[64];
	const char *line = said;

	out[0] = '\0';
	for (; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0) {
		size_t length = strlen(out);

		if (sscanf(line, "%63s web eu %63s", name, state) == 2)
			snprintf(out + length, room - length, "%s %s; ", name, state);
	}
}

static void a_watcher_tells_what_changes_and_what_goes(void **state)
{
	static const char *const answers[] = {
		BACKENDS(BACKEND("a", "up") "," BACKEND("b", "up")),
		BACKENDS(BACKEND("a", "up")),
		BACKENDS(BACKEND("a", "down")),
		BACKENDS(BACKEND("b", "up") "," BACKEND("a", "down")),
		"{}",
		NULL,
	};
	struct daemon daemon;
	char said[8192], told[1024];
	(void)state;

	daemon_start(&daemon, answers, false);
	assert_int_equal(run(&daemon, "health list --watch", said), 1);
	daemon_end(&daemon);
	shorten(said, told, sizeof(told));
	assert_string_equal(told, "a up; b up; b gone; a down; b up; b gone; a gone; ");
	assert_non_null(strstr(said, "geostreamd is not running there"));
	assert_null(strchr(said, '\033'));
}

static void a_watcher_tells_it_in_json(void **state)
{
	static const char *const answers[] = {BACKENDS(BACKEND("a", "up")), BACKENDS(""), NULL};
	struct daemon daemon;
	char said[8192], *second;
	(void)state;

	daemon_start(&daemon, answers, false);
	assert_int_equal(run(&daemon, "-j health list --watch", said), 1);
	daemon_end(&daemon);
	second = strchr(said, '\n');
	assert_non_null(second);
	*strchr(second + 1, '\n') = '\0';
	assert_string_equal(
		second + 1,
		"{\"name\":\"a\",\"service\":\"web\",\"region\":\"eu\",\"state\":\"gone\"}");
}

/* Watches, its output in a pipe. */
static pid_t start_watching(const struct daemon *daemon, int *ret_output)
{
	const char *build = getenv("BUILD");
	char program[128];
	int ends[2];
	pid_t pid;

	snprintf(program, sizeof(program), "%.80s/geostreamctl", build ? build : "build");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Whoever started this may ignore them. */
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		dup2(ends[1], STDOUT_FILENO);
		execle(program, "geostreamctl", "-s", daemon->path, "health", "list", "--watch",
		       NULL, (char *[]){NULL});
		_exit(127);
	}
	close(ends[1]);
	*ret_output = ends[0];
	return pid;
}

/* The exit code; -1: a signal ended it. */
static int read_to_end(pid_t pid, int output, size_t *ret_lines, char *ret_last)
{
	char block[4096];
	ssize_t n;
	int status;

	while ((n = read(output, block, sizeof(block))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			*ret_lines += block[i] == '\n';
		*ret_last = block[n - 1];
	}
	close(output);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* More than a pipe holds: who has read one byte knows that it is not whole, and cannot be. */
static char *many_backends(size_t number)
{
	const char *one = BACKEND("a-name-of-some-length-to-fill-pipes", "up");
	char *text = malloc(number * (strlen(one) + 1) + 32);
	size_t length;

	assert_non_null(text);
	length = (size_t)sprintf(text, "{\"backends\":[");
	for (size_t i = 0; i < number; i++)
		length += (size_t)sprintf(text + length, "%s%s", i > 0 ? "," : "", one);
	sprintf(text + length, "]}");
	return text;
}

static void an_ended_watcher_ends_its_lines(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM};
	enum { MANY = 2000 };
	char *many = many_backends(MANY);
	const char *few = BACKENDS(BACKEND("a", "up"));
	(void)state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(signals); i++) {
		bool is_many = i % 2 == 0;
		const char *answers[] = {is_many ? many : few, NULL};
		struct daemon daemon;
		size_t lines = 0;
		char last = '\0';
		int output, status;
		pid_t pid;

		daemon_start(&daemon, answers, true);
		pid = start_watching(&daemon, &output);
		assert_int_equal(read(output, &last, 1), 1);
		kill(pid, signals[i / 2]);
		status = read_to_end(pid, output, &lines, &last);
		daemon_end(&daemon);
		assert_int_equal(status, 0);
		assert_int_equal(lines, is_many ? MANY : 1);
		assert_int_equal(last, '\n');
	}
	free(many);
}

static void a_reader_who_does_not_read_keeps_no_watcher(void **state)
{
	char *many = many_backends(2000);
	const char *answers[] = {many, NULL};
	struct daemon daemon;
	int output, status = 0;
	char first;
	pid_t pid;
	(void)state;

	daemon_start(&daemon, answers, true);
	pid = start_watching(&daemon, &output);
	assert_int_equal(read(output, &first, 1), 1);
	/* Two that wait together are one. */
	while (waitpid(pid, &status, WNOHANG) == 0) {
		kill(pid, SIGTERM);
		sched_yield();
	}
	close(output);
	daemon_end(&daemon);
	free(many);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_daemons_words_move_no_terminal),
		cmocka_unit_test(json_has_all_and_moves_none),
		cmocka_unit_test(a_watcher_tells_what_changes_and_what_goes),
		cmocka_unit_test(a_watcher_tells_it_in_json),
		cmocka_unit_test(an_ended_watcher_ends_its_lines),
		cmocka_unit_test(a_reader_who_does_not_read_keeps_no_watcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

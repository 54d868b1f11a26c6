/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's socket: a loop on one side, blocking clients in a thread on the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/control.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { TIMEOUT_MS = 10000 };

struct server {
	char folder[32], path[64];
	struct gs_loop *loop;
	struct gs_control *control;
	struct gs_timer later;
	uint64_t late_token;
	int requests;
	size_t last_length;
	bool mute; /* takes requests, never answers */
};

static void on_later(struct gs_timer *timer)
{
	struct server *s = timer->context;

	gs_control_reply(s->control, s->late_token, "{\"late\":true}");
	gs_control_reply(s->control, s->late_token, "{\"twice\":true}");
}

/* Says back what came; "later" a little afterwards; "big" with 300 KB. */
static void on_request(void *context, uint64_t token, const char *request, size_t length)
{
	static char big[300001];
	struct server *s = context;
	char copy[256];

	s->requests++;
	s->last_length = length;
	if (s->mute)
		return;
	if (length == 5 && memcmp(request, "later", 5) == 0) {
		s->late_token = token;
		gs_loop_timer_set(s->loop, &s->later, 5);
		return;
	}
	if (length == 3 && memcmp(request, "big", 3) == 0) {
		memset(big, 'b', sizeof(big) - 1);
		gs_control_reply(s->control, token, big);
		return;
	}
	snprintf(copy, sizeof(copy), "got %.*s", length > 200 ? 200 : (int)length, request);
	gs_control_reply(s->control, token + (1ull << 32), "not this one's");
	gs_control_reply(s->control, UINT64_MAX, "nobody's");
	gs_control_reply(s->control, token, copy);
}

static int open_control(struct server *s, struct gs_error *error)
{
	const struct gs_control_events events = {.on_request = on_request};

	return gs_control_open(s->loop, s->path, &events, s, &s->control, error);
}

static int set_up(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	*state = s;
	strcpy(s->folder, "/tmp/gs-test-XXXXXX");
	s->later = (struct gs_timer){.on_due = on_later, .context = s};
	if (!mkdtemp(s->folder) || gs_loop_new(&s->loop))
		return -1;
	snprintf(s->path, sizeof(s->path), "%s/run/d.sock", s->folder);
	return 0;
}

static int tear_down(void **state)
{
	struct server *s = *state;
	char folder[64];

	gs_control_close(s->control);
	gs_loop_free(s->loop);
	unlink(s->path);
	snprintf(folder, sizeof(folder), "%s/run", s->folder);
	rmdir(folder);
	rmdir(s->folder);
	free(s);
	return 0;
}

/* ---- clients in a thread; the loop runs meanwhile -------------------------------------------- */

struct client {
	struct server *server;
	void (*talk)(struct client *client);
	struct gs_job job;
	int result;
	char *reply;
	struct gs_error error;
	char text[512];
};

static void run_client(struct gs_job *job)
{
	struct client *client = job->context;

	client->talk(client);
}

static void client_done(struct gs_job *job)
{
	struct client *client = job->context;

	gs_loop_stop(client->server->loop);
}

static void talk(struct server *s, struct client *client, void (*how)(struct client *client))
{
	*client = (struct client){.server = s, .talk = how};
	client->job = (struct gs_job){.run = run_client, .done = client_done, .context = client};
	gs_loop_work(s->loop, &client->job);
	assert_int_equal(gs_loop_run(s->loop), 0);
}

static int connect_raw(const struct server *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, s->path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void receive_all(int fd, char *out, size_t room)
{
	size_t length = 0;
	ssize_t n;

	while (length < room - 1 && (n = recv(fd, out + length, room - 1 - length, 0)) > 0)
		length += (size_t)n;
	out[length] = '\0';
}

static void ask_hello(struct client *c)
{
	c->result = gs_control_ask(c->server->path, "hello", TIMEOUT_MS, &c->reply, &c->error);
}

static void ask_later(struct client *c)
{
	c->result = gs_control_ask(c->server->path, "later", TIMEOUT_MS, &c->reply, &c->error);
}

static void ask_big(struct client *c)
{
	c->result = gs_control_ask(c->server->path, "big", TIMEOUT_MS, &c->reply, &c->error);
}

static void ask_too_much(struct client *c)
{
	char *huge = malloc(200001);

	memset(huge, 'x', 200000);
	huge[200000] = '\0';
	c->result = gs_control_ask(c->server->path, huge, TIMEOUT_MS, &c->reply, &c->error);
	free(huge);
}

static void ask_most(struct client *c)
{
	char *huge = malloc(GS_CONTROL_REQUEST_MAX + 1);

	memset(huge, 'x', GS_CONTROL_REQUEST_MAX);
	huge[GS_CONTROL_REQUEST_MAX] = '\0';
	c->result = gs_control_ask(c->server->path, huge, TIMEOUT_MS, &c->reply, &c->error);
	free(huge);
}

static void ask_impatiently(struct client *c)
{
	c->result = gs_control_ask(c->server->path, "hello", 50, &c->reply, &c->error);
}

static void a_request_gets_its_reply(void **state)
{
	struct server *s = *state;
	struct gs_error error;
	struct client c;
	struct stat status;

	assert_int_equal(open_control(s, &error), 0);
	assert_int_equal(stat(s->path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0660);
	talk(s, &c, ask_hello);
	assert_int_equal(c.result, 0);
	assert_string_equal(c.reply, "got hello");
	free(c.reply);
	talk(s, &c, ask_later);
	assert_int_equal(c.result, 0);
	assert_string_equal(c.reply, "{\"late\":true}");
	free(c.reply);
	talk(s, &c, ask_big);
	assert_int_equal(c.result, 0);
	assert_int_equal(strlen(c.reply), 300000);
	free(c.reply);
}

static void requests_have_a_limit(void **state)
{
	struct server *s = *state;
	struct gs_error error;
	struct client c;

	assert_int_equal(open_control(s, &error), 0);
	talk(s, &c, ask_most);
	assert_int_equal(c.result, 0);
	assert_int_equal(s->last_length, GS_CONTROL_REQUEST_MAX);
	free(c.reply);
	talk(s, &c, ask_too_much);
	assert_int_equal(c.result, 0);
	assert_non_null(strstr(c.reply, "larger than 64 KiB"));
	assert_int_equal(s->requests, 1);
	free(c.reply);
}

/* One byte at a time; two lines at once (the second is ignored); no newline, the stream's end. */
static void talk_oddly(struct client *c)
{
	int fd = connect_raw(c->server);

	for (const char *p = "slow\n"; *p; p++)
		c->result += send(fd, p, 1, MSG_NOSIGNAL) == 1;
	receive_all(fd, c->text, 100);
	close(fd);
	fd = connect_raw(c->server);
	c->result += send(fd, "one\ntwo\n", 8, MSG_NOSIGNAL) == 8;
	receive_all(fd, c->text + 100, 100);
	close(fd);
	fd = connect_raw(c->server);
	c->result += send(fd, "end", 3, MSG_NOSIGNAL) == 3;
	shutdown(fd, SHUT_WR);
	receive_all(fd, c->text + 200, 100);
	close(fd);
	fd = connect_raw(c->server);
	shutdown(fd, SHUT_WR);
	receive_all(fd, c->text + 300, 100);
	close(fd);
}

static void requests_come_in_pieces(void **state)
{
	struct server *s = *state;
	struct gs_error error;
	struct client c;

	assert_int_equal(open_control(s, &error), 0);
	talk(s, &c, talk_oddly);
	assert_int_equal(c.result, 7);
	assert_string_equal(c.text, "got slow\n");
	assert_string_equal(c.text + 100, "got one\n");
	assert_string_equal(c.text + 200, "got end\n");
	assert_string_equal(c.text + 300, "");
	assert_int_equal(s->requests, 3);
}

/* More clients than there are places: those that say nothing do not keep the others out for ever.
 */
static void talk_as_crowd(struct client *c)
{
	int fds[GS_CONTROL_CLIENTS_MAX + 20], count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connect_raw(c->server);
		count += fds[i] >= 0;
	}
	c->result = count;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		char text[64] = "";

		if (send(fds[i], "x\n", 2, MSG_NOSIGNAL) == 2)
			receive_all(fds[i], text, sizeof(text));
		c->result -= strcmp(text, "got x\n") == 0;
		close(fds[i]);
	}
}

static void crowds_are_served(void **state)
{
	struct server *s = *state;
	struct gs_error error;
	struct client c;

	assert_int_equal(open_control(s, &error), 0);
	talk(s, &c, talk_as_crowd);
	assert_int_equal(c.result, 0);
	assert_int_equal(s->requests, GS_CONTROL_CLIENTS_MAX + 20);
}

/* A client that leaves before its reply; the next one in its place gets its own. */
static void talk_and_leave(struct client *c)
{
	int fd = connect_raw(c->server);

	c->result = send(fd, "later\n", 6, MSG_NOSIGNAL) == 6;
	close(fd);
	ask_hello(c);
}

static void a_late_reply_goes_to_nobody_else(void **state)
{
	struct server *s = *state;
	struct gs_error error;
	struct client c;

	assert_int_equal(open_control(s, &error), 0);
	talk(s, &c, talk_and_leave);
	assert_int_equal(c.result, 0);
	assert_string_equal(c.reply, "got hello");
	free(c.reply);
	talk(s, &c, ask_later);
	assert_string_equal(c.reply, "{\"late\":true}");
	free(c.reply);
}

static void a_mute_daemon_is_given_up(void **state)
{
	struct server *s = *state;
	struct gs_error error;
	struct client c;

	assert_int_equal(open_control(s, &error), 0);
	s->mute = true;
	talk(s, &c, ask_impatiently);
	assert_int_equal(c.result, -ETIMEDOUT);
	assert_non_null(strstr(c.error.text, "does not answer"));
}

/* ---- who listens ----------------------------------------------------------------------------- */

static void only_dead_sockets_are_replaced(void **state)
{
	struct server *s = *state, second = *s;
	struct gs_error error;
	struct client c;
	FILE *file;
	int fd;

	assert_int_equal(open_control(s, &error), 0);
	assert_int_equal(open_control(&second, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, "another geostreamd"));
	talk(s, &c, ask_hello);
	assert_int_equal(c.result, 0);
	free(c.reply);
	gs_control_close(gs_take_ptr(s->control));
	assert_int_equal(access(s->path, F_OK), -1);

	/* What a killed daemon leaves: a socket that nobody listens on. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};

		strcpy(address.sun_path, s->path);
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	}
	close(fd);
	assert_int_equal(open_control(s, &error), 0);
	gs_control_close(gs_take_ptr(s->control));

	file = fopen(s->path, "we");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(open_control(s, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, "no socket"));
	assert_int_equal(access(s->path, F_OK), 0);
}

/* Ours was removed and another's stands there: it is not ours to remove. */
static void anothers_socket_is_left_alone(void **state)
{
	struct server *s = *state, second = *s;
	struct gs_error error;

	assert_int_equal(open_control(s, &error), 0);
	assert_int_equal(unlink(s->path), 0);
	assert_int_equal(open_control(&second, &error), 0);
	gs_control_close(gs_take_ptr(s->control));
	assert_int_equal(access(s->path, F_OK), 0);
	gs_control_close(second.control);
	assert_int_equal(access(s->path, F_OK), -1);
}

static void bad_paths_are_named(void **state)
{
	struct server *s = *state;
	char *reply = NULL, path[256];
	struct gs_error error;

	assert_int_equal(gs_control_ask(s->path, "x", 100, &reply, &error), -ENOENT);
	assert_non_null(strstr(error.text, "not running"));
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(gs_control_ask(path, "x", 100, &reply, &error), -EINVAL);
	assert_int_equal(gs_control_ask("", "x", 100, &reply, &error), -EINVAL);
	assert_null(reply);
	strcpy(s->path, "/proc/nowhere/d.sock");
	assert_int_equal(open_control(s, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/proc/nowhere/d.sock"));
	assert_null(s->control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_request_gets_its_reply, set_up, tear_down),
		cmocka_unit_test_setup_teardown(requests_have_a_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(requests_come_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(crowds_are_served, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_late_reply_goes_to_nobody_else, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_mute_daemon_is_given_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_dead_sockets_are_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(anothers_socket_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_paths_are_named, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

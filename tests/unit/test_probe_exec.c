/* SPDX-License-Identifier: Apache-2.0 */
/* Probes by commands: real scripts in a folder of the test's, and who may write there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "user/adapters/probe_exec.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct world {
	struct probe_scene scene;
	char folder[64], path[128];
	struct gs_probe_settings settings;
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	snprintf(world->folder, sizeof(world->folder), "/tmp/gs-exec-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	assert_int_equal(chmod(world->folder, 0755), 0);
	snprintf(world->path, sizeof(world->path), "%s/check", world->folder);
	world->settings =
		(struct gs_probe_settings){.commands = world->folder, .commands_owner = geteuid()};
	probe_scene_open(&world->scene, &world->settings);
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	char command[128];

	probe_scene_close(&world->scene);
	/* Whatever it was: nothing of ours is left, neither running nor a zombie. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	snprintf(command, sizeof(command), "rm -rf '%s'", world->folder);
	assert_int_equal(system(command), 0);
	free(world);
	return 0;
}

/* Another file of that name: the one there was may just be started. */
static void write_script(const struct world *world, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s.new", world->path);
	file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", text);
	fclose(file);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(rename(path, world->path), 0);
}

static struct gs_probe_target target_of(const char *arguments)
{
	static const struct gs_addr addr = {
		{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}};
	struct gs_probe_target target = probe_scene_target(GS_PROBE_EXEC, &addr, 8080);

	strcpy(target.spec.command, "check");
	strcpy(target.spec.arguments, arguments);
	return target;
}

static void exit_codes(void **state)
{
	static const struct {
		const char *script;
		enum gs_probe_class want;
	} cases[] = {
		{"exit 0", GS_PROBE_OK},
		{"exit 1", GS_PROBE_STATUS},
		{"exit 255", GS_PROBE_STATUS},
		{"kill -KILL $$", GS_PROBE_STATUS},
		{"kill -TERM $$", GS_PROBE_STATUS},
		{"echo lots of words; echo and more >&2; cat", GS_PROBE_OK},
	};
	struct world *world = *state;
	struct gs_probe_target target = target_of("");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		write_script(world, cases[i].script);
		if (probe_scene_ask(&world->scene, &target) != cases[i].want)
			fail_msg("%s: %s", cases[i].script,
				 gs_probe_class_name(world->scene.result));
	}
}

static void read_file(const char *path, char *out, size_t size)
{
	GS_AUTO_FCLOSE FILE *file = fopen(path, "re");

	out[file ? fread(out, 1, size - 1, file) : 0] = 0;
}

/* Its arguments, what it knows of the backend, and nothing of ours. */
static void what_it_is_given(void **state)
{
	static const char want[] = "-x|y z|$(id);|\n"
				   "GEOSTREAM_ADDRESS=2001:db8::7\nGEOSTREAM_BACKEND=eu-1\n"
				   "GEOSTREAM_PORT=8080\nGEOSTREAM_SERVICE=web\n"
				   "GEOSTREAM_TIMEOUT_MS=5000\n"
				   "0 /dev/null\n1 /dev/null\n2 /dev/null\n"
				   "SigBlk: 0000000000000000\nSigIgn: 0000000000000000\n";
	struct world *world = *state;
	struct gs_probe_target target = target_of("-x,y z,$(id);");
	char script[1024], path[128], got[1024];
	GS_AUTO_CLOSE int open_one = open("/dev/zero", O_RDONLY); /* not closed by exec */

	setenv("SECRET", "x", 1);
	signal(SIGPIPE, SIG_IGN);
	snprintf(path, sizeof(path), "%s/out", world->folder);
	/* Signals 32 and 33 are the C library's own. */
	snprintf(script, sizeof(script),
		 "one=$(readlink /proc/$$/fd/1)\n"
		 "exec >%s\n"
		 "printf '%%s|' \"$@\"; echo\n"
		 "env | grep -v '^PATH=\\|^PWD=\\|^_=\\|^SHLVL=' | sort\n"
		 "echo 0 $(readlink /proc/$$/fd/0); echo 1 $one; echo 2 $(readlink /proc/$$/fd/2)\n"
		 "for fd in 3 4 5 6 7 8 9; do\n"
		 "readlink /proc/$$/fd/$fd | grep -v '/check$'\n"
		 "done\n"
		 "grep '^SigBlk\\|^SigIgn' /proc/$$/status | tr '\\t' ' ' |"
		 " sed s/0000000180000000/0000000000000000/\n"
		 "exit 0",
		 path);
	write_script(world, script);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	read_file(path, got, sizeof(got));
	assert_string_equal(got, want);
	unsetenv("SECRET");
}

/* Not the command, its folder nor one above may be others' to write; links are followed first. */
static void who_may_write(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of("");
	struct gs_probe_settings other = world->settings;
	char link[128], below[128];

	write_script(world, "exit 0");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	chmod(world->path, 0775);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	chmod(world->path, 0757);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	chmod(world->path, 0644);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	chmod(world->path, 0755);
	chmod(world->folder, 0777);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	chmod(world->folder, 01777); /* sticky does not do for the folder itself */
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	chmod(world->folder, 0755);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);

	/* A link to what others may write. */
	snprintf(below, sizeof(below), "%s/others", world->folder);
	snprintf(link, sizeof(link), "%s/others/check", world->folder);
	assert_int_equal(mkdir(below, 0755), 0);
	assert_int_equal(rename(world->path, link), 0);
	assert_int_equal(symlink(link, world->path), 0);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	chmod(below, 0777);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);

	/* Another folder, below that one. */
	probe_scene_close(&world->scene);
	other.commands = below;
	probe_scene_open(&world->scene, &other);
	chmod(below, 0755);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	chmod(world->folder, 0777);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	chmod(world->folder, 0755);
	strcpy(target.spec.command, "missing");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
}

static void owned_by_somebody_else(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of("");
	struct gs_probe_settings other = world->settings;

	write_script(world, "exit 0");
	if (geteuid() == 0)
		assert_int_equal(chown(world->path, 12345, 0), 0);
	other.commands_owner = 54321;
	probe_scene_close(&world->scene);
	probe_scene_open(&world->scene, &other);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
}

/* At the timeout it is killed, with what it has started. */
static void timeouts(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of("");
	char script[1024], path[128], pids[128];
	int pid, child;

	snprintf(path, sizeof(path), "%s/pids", world->folder);
	snprintf(script, sizeof(script),
		 "tail -f /dev/null &\necho $$ $! >%s.new\nmv %s.new %s\nwait", path, path, path);
	write_script(world, script);
	target.spec.timeout_ms = 2000;
	assert_int_equal(probe_scene_ask_silence(&world->scene, &target), GS_PROBE_TIMEOUT);
	read_file(path, pids, sizeof(pids));
	assert_int_equal(sscanf(pids, "%d %d", &pid, &child), 2);
	probe_scene_close(&world->scene);
	assert_int_equal(kill(pid, 0), -1);
	/* The child belongs to whoever reaps orphans: dead, if it may not be buried yet. */
	for (int i = 0; i < 10000 && kill(child, 0) == 0; i++) {
		snprintf(path, sizeof(path), "/proc/%d/stat", child);
		read_file(path, pids, sizeof(pids));
		if (strstr(pids, ") Z "))
			break;
	}
	assert_true(kill(child, 0) == -1 || strstr(pids, ") Z "));
	probe_scene_open(&world->scene, &world->settings);
}

/* More than may run at the same time: the others wait for their turn, and all are answered. */
static void many(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of("");
	char script[1024], path[128], got[64];

	snprintf(path, sizeof(path), "%s/most", world->folder);
	snprintf(script, sizeof(script),
		 "mkdir -p %s/now; touch %s/now/$$\n"
		 "n=$(ls %s/now | wc -l); rm %s/now/$$\n"
		 "[ $n -le %d ] || echo $n >%s",
		 world->folder, world->folder, world->folder, world->folder, GS_EXEC_MAX, path);
	write_script(world, script);
	target.spec.timeout_ms = 30000;
	for (uint64_t token = 0; token < 100; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
	probe_scene_run(&world->scene, 100);
	assert_int_equal(world->scene.results[GS_PROBE_OK], 100);
	if (access(path, F_OK) == 0) {
		read_file(path, got, sizeof(got));
		fail_msg("%s ran at once", got);
	}
}

/* Those that never had their turn are our own trouble, not their targets'. */
static void no_turn(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of("");

	write_script(world, "exec tail -f /dev/null");
	target.spec.timeout_ms = 30000;
	for (uint64_t token = 0; token < GS_EXEC_MAX; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
	target.spec.timeout_ms = 50;
	target.backend = 8;
	for (uint64_t token = 0; token < 5; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
	probe_scene_run(&world->scene, 5);
	assert_int_equal(world->scene.results[GS_PROBE_LOCAL], 5);
}

/* Before they start, while they run and while they wait; tear_down looks for what is left. */
static void cancelled(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(""), other = target;

	write_script(world, "exec tail -f /dev/null");
	for (uint64_t token = 0; token < GS_EXEC_MAX + 10; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
	world->scene.prober.ops->cancel(world->scene.prober.self, target.backend);
	write_script(world, "exit 0");
	other.backend = 8;
	other.spec.timeout_ms = 30000;
	assert_int_equal(probe_scene_begin(&world->scene, &other, 99), 0);
	probe_scene_run(&world->scene, 1);
	assert_int_equal(world->scene.token, 99);
	assert_int_equal(world->scene.result, GS_PROBE_OK);
	for (uint64_t token = 0; token < GS_EXEC_MAX + 10; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(exit_codes),    TEST(what_it_is_given),
		TEST(who_may_write), TEST(owned_by_somebody_else),
		TEST(timeouts),	     TEST(many),
		TEST(no_turn),	     TEST(cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

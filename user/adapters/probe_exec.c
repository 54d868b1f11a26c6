/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_exec.h"

#include "probe_errand.h"
#include "probe_parts.h"

#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ARGUMENTS_MAX = sizeof(((struct gs_probe_spec *)0)->arguments) / 2 + 2,
	ENVIRONMENT_MAX = 8,
	VARIABLE_MAX = 128,
};

struct gs_exec {
	struct gs_loop *loop;
	struct gs_errands *errands; /* NULL: not needed so far */
	char folder[GS_PATH_MAX];
	uid_t owner;
	uint32_t count; /* of runs */
	struct gs_exec_run *runs;
	struct probe *first_waiting, **end_waiting;
};

/* One command, from the errand that starts it until it is reaped: it may outlive its probe. */
struct gs_exec_run {
	struct gs_exec *exec;
	struct gs_exec_run *next, *previous;
	struct probe *probe; /* NULL: nobody wants to know any more */
	struct gs_errand errand;
	struct gs_io io; /* a pidfd; -1: not started */
	pid_t pid;
	int error; /* of the start */
	char path[GS_PATH_MAX + sizeof(((struct gs_probe_spec *)0)->command) + 1];
	char arguments[sizeof(((struct gs_probe_spec *)0)->arguments)];
	char environment[ENVIRONMENT_MAX][VARIABLE_MAX];
	uint32_t environment_count;
};

/* ---- on the thread --------------------------------------------------------------------------- */

/*
 * May nobody but root and `owner` change what is there? In a folder above it that has the sticky
 * bit others may make entries, but not touch ours. 0, -EPERM or another -errno.
 */
static int check_owner(const char *path, uid_t owner, bool is_above)
{
	struct stat found;

	if (stat(path, &found) != 0)
		return -errno;
	if (found.st_uid != 0 && found.st_uid != owner)
		return -EPERM;
	if ((found.st_mode & (S_IWGRP | S_IWOTH)) && !(is_above && (found.st_mode & S_ISVTX)))
		return -EPERM;
	return 0;
}

/* The command, its folder, and those above: whoever may write there could put in another. */
static int check_path(const char *path, uid_t owner)
{
	char part[PATH_MAX];
	bool is_above = false;
	int ret;

	if (!realpath(path, part))
		return -errno;
	ret = check_owner(part, owner, false);
	for (char *slash; !ret && (slash = strrchr(part, '/')); is_above = true) {
		*slash = 0;
		ret = check_owner(part[0] ? part : "/", owner, is_above);
	}
	return ret;
}

static void split_arguments(struct gs_exec_run *run, char *argv[ARGUMENTS_MAX])
{
	char *rest = run->arguments;
	int count = 0;

	argv[count++] = run->path;
	while (*rest && count < ARGUMENTS_MAX - 1) {
		argv[count++] = rest;
		rest += strcspn(rest, ",");
		if (*rest)
			*rest++ = 0;
	}
	argv[count] = NULL;
}

/* Nothing of ours: no files, no signals held back, a process group of its own. */
static int spawn(struct gs_exec_run *run)
{
	char *argv[ARGUMENTS_MAX], *environment[ENVIRONMENT_MAX + 1] = {NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t signals;
	int err;

	split_arguments(run, argv);
	for (uint32_t i = 0; i < run->environment_count; i++)
		environment[i] = run->environment[i];
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	sigemptyset(&signals);
	posix_spawnattr_setsigmask(&attributes, &signals);
	sigfillset(&signals);
	posix_spawnattr_setsigdefault(&attributes, &signals);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn(&run->pid, run->path, &files, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return -err;
}

/* With all that it started: it has a group of its own. Not yet reaped, so the group is its own. */
static void kill_group(const struct gs_exec_run *run)
{
	kill(-run->pid, SIGKILL);
	kill(run->pid, SIGKILL);
}

static void run_start(struct gs_errand *errand)
{
	struct gs_exec_run *run =
		(struct gs_exec_run *)((char *)errand - offsetof(struct gs_exec_run, errand));

	run->error = check_path(run->path, run->exec->owner);
	if (!run->error)
		run->error = spawn(run);
	if (run->error)
		return;
	run->io.fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (run->io.fd >= 0)
		return;
	run->error = -errno;
	kill_group(run);
	waitpid(run->pid, NULL, 0);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void start_next(struct gs_exec *exec);

/* It is reaped, or never came to be. */
static void free_run(struct gs_exec_run *run)
{
	struct gs_exec *exec = run->exec;

	if (run->io.fd >= 0) {
		gs_loop_io_clear(exec->loop, &run->io);
		close(run->io.fd);
	}
	if (run->previous)
		run->previous->next = run->next;
	else
		exec->runs = run->next;
	if (run->next)
		run->next->previous = run->previous;
	exec->count--;
	free(run);
}

/* Its end: also of what it left behind in its group. */
static enum gs_probe_class reap(struct gs_exec_run *run)
{
	int status = 0;

	kill_group(run);
	waitpid(run->pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? GS_PROBE_OK : GS_PROBE_STATUS;
}

static void on_exit_of(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_exec_run *run = io->context;
	struct gs_exec *exec = run->exec;
	struct probe *probe = run->probe;
	enum gs_probe_class result = reap(run);

	(void)epoll_events;
	if (probe)
		probe->run = NULL;
	free_run(run);
	start_next(exec);
	if (probe)
		gs_probe_finish(probe, result);
}

/* What cannot be started is our own trouble: the file is not there, or others may write it. */
static void on_started(struct gs_errand *errand, bool is_over)
{
	struct gs_exec_run *run =
		(struct gs_exec_run *)((char *)errand - offsetof(struct gs_exec_run, errand));
	struct gs_exec *exec = run->exec;
	struct probe *probe = run->probe;

	if (!is_over && run->io.fd >= 0) {
		run->io.on_ready = on_exit_of;
		if (!probe)
			kill_group(run);
		if (gs_loop_io_set(exec->loop, &run->io, EPOLLIN) == 0)
			return;
		run->error = -ENOMEM;
	}
	if (run->io.fd >= 0)
		reap(run);
	if (probe)
		probe->run = NULL;
	if (!is_over)
		gs_log_limited(GS_LOG_WARNING, "probe_command", "file=%s error=%s", run->path,
			       run->error == -EPERM ? "others than root may change it"
						    : strerror(-run->error));
	free_run(run);
	if (is_over)
		return;
	start_next(exec);
	if (probe)
		gs_probe_finish(probe, GS_PROBE_LOCAL);
}

static void add_variable(struct gs_exec_run *run, const char *name, const char *value)
{
	snprintf(run->environment[run->environment_count++], VARIABLE_MAX, "%s=%.100s", name,
		 value);
}

static void fill(struct gs_exec_run *run, const struct gs_probe_target *target)
{
	char text[GS_ADDR_TEXT_MAX];

	snprintf(run->path, sizeof(run->path), "%s/%s", run->exec->folder, target->spec.command);
	snprintf(run->arguments, sizeof(run->arguments), "%s", target->spec.arguments);
	add_variable(run, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	add_variable(run, "GEOSTREAM_SERVICE", target->service);
	add_variable(run, "GEOSTREAM_BACKEND", target->name);
	add_variable(run, "GEOSTREAM_ADDRESS", gs_addr_format(&target->addr, text));
	snprintf(text, sizeof(text), "%u", (unsigned int)target->port);
	add_variable(run, "GEOSTREAM_PORT", text);
	snprintf(text, sizeof(text), "%u", target->spec.timeout_ms);
	add_variable(run, "GEOSTREAM_TIMEOUT_MS", text);
}

/* 0 or -errno. */
static int start_run(struct gs_exec *exec, struct probe *probe)
{
	struct gs_exec_run *run = calloc(1, sizeof(*run));
	int ret;

	if (!run)
		return -ENOMEM;
	run->exec = exec;
	run->probe = probe;
	run->errand = (struct gs_errand){.run = run_start, .done = on_started};
	run->io = (struct gs_io){.fd = -1, .context = run};
	fill(run, &probe->target);
	ret = gs_errands_add(exec->errands, &run->errand);
	if (ret) {
		free(run);
		return ret;
	}
	run->next = exec->runs;
	if (run->next)
		run->next->previous = run;
	exec->runs = run;
	exec->count++;
	probe->run = run;
	return 0;
}

static void unwait(struct gs_exec *exec, struct probe *probe)
{
	struct probe **at = &exec->first_waiting;

	while (*at && *at != probe)
		at = &(*at)->next_waiting;
	if (!*at)
		return;
	*at = probe->next_waiting;
	if (!*at)
		exec->end_waiting = at;
	probe->next_waiting = NULL;
}

static void start_next(struct gs_exec *exec)
{
	while (exec->first_waiting && exec->count < GS_EXEC_MAX) {
		struct probe *probe = exec->first_waiting;

		unwait(exec, probe);
		probe->held_us = gs_now_us() - probe->start_us;
		if (start_run(exec, probe) != 0) {
			gs_probe_fail(probe, GS_PROBE_LOCAL);
			gs_loop_timer_set(exec->loop, &probe->timer, 0);
		}
	}
}

/* ---- the way --------------------------------------------------------------------------------- */

static int begin(struct probe *probe)
{
	struct gs_exec *exec = probe->prober->exec;
	int ret = 0;

	if (!exec->errands)
		ret = gs_errands_new(exec->loop, &exec->errands);
	if (ret)
		return ret;
	if (exec->count < GS_EXEC_MAX)
		return start_run(exec, probe);
	*exec->end_waiting = probe;
	exec->end_waiting = &probe->next_waiting;
	return 0;
}

/* Not started yet: it has not had its turn, or the disk is slow. */
static bool look(struct probe *probe, enum gs_probe_class *ret_class)
{
	struct gs_exec_run *run = probe->run;
	siginfo_t info = {0};

	*ret_class = GS_PROBE_LOCAL;
	if (!run || !run->io.on_ready)
		return true;
	if (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	    info.si_pid == 0)
		return false;
	*ret_class =
		info.si_code == CLD_EXITED && info.si_status == 0 ? GS_PROBE_OK : GS_PROBE_STATUS;
	return true;
}

/* One that runs is killed, and reaped when it is dead: that may take a moment. */
static void done(struct probe *probe)
{
	struct gs_exec_run *run = probe->run;

	if (!run) {
		unwait(probe->prober->exec, probe);
		return;
	}
	run->probe = NULL;
	if (run->io.on_ready)
		kill_group(run);
}

const struct probe_way gs_probe_commands = {.begin = begin, .look = look, .done = done};

/* ---- life ------------------------------------------------------------------------------------ */

int gs_exec_new(struct gs_loop *loop, const struct gs_probe_settings *settings,
		struct gs_exec **ret_exec)
{
	struct gs_exec *exec = calloc(1, sizeof(*exec));

	if (!exec)
		return -ENOMEM;
	exec->loop = loop;
	exec->end_waiting = &exec->first_waiting;
	exec->owner = settings->commands_owner;
	snprintf(exec->folder, sizeof(exec->folder), "%s", settings->commands);
	*ret_exec = exec;
	return 0;
}

void gs_exec_free(struct gs_exec *exec)
{
	if (!exec)
		return;
	gs_errands_free(exec->errands);
	while (exec->runs) {
		struct gs_exec_run *run = exec->runs;

		reap(run);
		free_run(run);
	}
	free(exec);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's unix socket: one JSON line each way, then close. The server runs on the loop and
 * knows nothing of what is asked; the client blocks, for the CLI.
 */
#pragma once

#include "user/base/loop.h"
#include "user/core/types.h"

#include <stddef.h>

enum {
	GS_CONTROL_REQUEST_MAX = 65536,
	GS_CONTROL_CLIENTS_MAX = 128, /* more wait in the socket's queue */
	GS_CONTROL_IDLE_MS = 10000,   /* to send a request whole; to take a reply whole */
};

struct gs_control;

struct gs_control_events {
	/*
	 * A request, without its newline; not terminated, valid during the call. Exactly one
	 * gs_control_reply(token) must follow, in the call or later.
	 */
	void (*on_request)(void *context, uint64_t token, const char *request, size_t length);
};

/*
 * Listens at path (folder made if missing, mode 0660). A socket nobody listens on is replaced.
 * -EADDRINUSE: somebody does, or the path is no socket. *error says which.
 */
int gs_control_open(struct gs_loop *loop, const char *path, const struct gs_control_events *events,
		    void *context, struct gs_control **ret_control, struct gs_error *error);
/* Copies the line. Nothing happens if the client has gone. */
void gs_control_reply(struct gs_control *control, uint64_t token, const char *line);
/* Removes the socket, drops the clients. NULL is fine. */
void gs_control_close(struct gs_control *control);

/*
 * Asks and waits for at most timeout_ms. *ret_reply: the reply's line, for the caller to free. 0;
 * -ENOENT, -ECONNREFUSED (no daemon), -EACCES, -ETIMEDOUT, -EPROTO (no whole reply), ...
 */
int gs_control_ask(const char *path, const char *request, uint32_t timeout_ms, char **ret_reply,
		   struct gs_error *error);
/* The same in two steps: *ret_fd, the caller's, becomes readable when the reply comes. timeout_ms:
 * of each wait. */
int gs_control_begin(const char *path, const char *request, uint32_t timeout_ms, int *ret_fd,
		     struct gs_error *error);
int gs_control_end(const char *path, int fd, char **ret_reply, struct gs_error *error);

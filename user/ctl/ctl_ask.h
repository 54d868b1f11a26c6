/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share that ask, and print what was answered. */
#pragma once

#include "user/ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>

enum { GS_CTL_ASK_MS = 5000 };

void gs_ctl_decref_ptr(json_t **json);
#define GS_AUTO_JSON GS_CLEANUP(gs_ctl_decref_ptr)

/* Asks the daemon. Steals `request`. The reply, or NULL and the error is printed. */
json_t *gs_ctl_ask(const struct gs_ctl *ctl, json_t *request, uint32_t timeout_ms);
/* The reply that this text is, or NULL and why is printed; "error" of it is not looked at. */
json_t *gs_ctl_read_reply(const struct gs_ctl *ctl, const char *text);
/* As JSON; GS_CTL_DONE. */
int gs_ctl_print(const json_t *json);
/* Asks, and shows the reply: as JSON, or as `print` has it. */
int gs_ctl_show(const struct gs_ctl *ctl, json_t *request, void (*print)(const json_t *reply));
/* With flags of json_dumps: JSON_COMPACT for a line of it. */
int gs_ctl_print_as(const json_t *json, size_t flags);
/* What json_dumps made, and a newline; escapes stand for the controls which it leaves as they are.
 */
void gs_ctl_put_json(const char *text, FILE *file);

/* ctl_daemon.c: the daemon's status, whole; NULL: why is printed. */
json_t *gs_ctl_ask_status(const struct gs_ctl *ctl);
/* ctl_daemon.c: the answer of route.get, for people. */
void gs_ctl_print_route(const json_t *reply);
/* The same: the database in force; clients whose region a generation changes. */
void gs_ctl_print_geoip(const json_t *geoip);
void gs_ctl_print_shift(const json_t *shift);
/* ctl_geo.c: the load under way; NULL: nothing. */
void gs_ctl_print_loading(const json_t *loading);
/* ctl_offline.c: route get ADDRESS --offline -f CONFIG --geo FILE. */
int gs_ctl_route_offline(const struct gs_ctl *ctl, int argc, char **argv);

/* "" and 0 if there is none. */
const char *gs_ctl_text(const json_t *object, const char *key);
json_int_t gs_ctl_number(const json_t *object, const char *key);
/* The state in its colour, padded by hand: escapes have no width. */
void gs_ctl_print_state(const char *state, int width);
/* '?' for each byte of a control character (C0, DEL, C1) and of what is no UTF-8. */
void gs_ctl_clean(char *text);
/*
 * printf for texts of databases, daemons and people: a line, or a part of one. It is cleaned; of
 * all line breaks only the one that ends the format is made.
 */
void gs_ctl_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

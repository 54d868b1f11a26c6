/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anchors: addresses that an operator names as always there. While none of them answers, what an
 * edge sees says more of the edge than of what it looks at (self.h). Pure.
 */
#pragma once

#include "health.h"
#include "types.h"

#include <stddef.h>

enum {
	GS_ANCHORS_MAX = 8,
	GS_ANCHOR_TEXT_MAX = 64, /* "tcp:[2001:db8::1]:443" */
	GS_ANCHOR_DNS_PORT = 53,
};

struct gs_anchor {
	enum gs_probe_kind kind; /* ICMP, TCP or DNS */
	struct gs_addr addr;
	uint16_t port;		       /* ICMP: 0 */
	char name[GS_ANCHOR_TEXT_MAX]; /* as people know it; in one form only */
};

struct gs_anchor_set {
	struct gs_anchor anchors[GS_ANCHORS_MAX];
	uint32_t count;
};

/*
 * A comma-separated list of icmp:ADDRESS, tcp:ADDRESS:PORT and dns:ADDRESS[:PORT], IPv6 addresses
 * before a port in brackets; "": none. 0; or -EINVAL, what is wrong with which of them in why (of
 * `room` bytes), and *ret_set untouched.
 */
int gs_anchors_parse(const char *text, struct gs_anchor_set *ret_set, char *why, size_t room);
/*
 * What an anchor is asked, how often, and how many results make a verdict (as of any probe, at the
 * times below). A DNS anchor is asked who serves the root, which every resolver knows.
 */
struct gs_probe_spec gs_anchor_spec(const struct gs_anchor *anchor);
/* Did it answer? So does a resolver that refuses. LOCAL: nothing was learned. */
enum gs_probe_class gs_anchor_class(enum gs_probe_class result);

/* Calm while it answers; once it is silent, a verdict within three seconds. */
#define GS_ANCHOR_INTERVAL_MS 1000u
#define GS_ANCHOR_FAST_INTERVAL_MS 500u
#define GS_ANCHOR_TIMEOUT_MS 500u

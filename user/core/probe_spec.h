/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a probe asks and what it wants to hear: the texts of a gs_probe_spec as one list, so that
 * columns, documents, files and checks say the same, and what those texts mean. Pure.
 */
#pragma once

#include "types.h"

#include <stddef.h>

enum { GS_PROBE_TEXTS = 10 };

struct gs_probe_text {
	const char *name;      /* of the column and field: "probe_status" */
	const char *member;    /* in a document's "probe": "status" */
	const char *otherwise; /* where nobody says */
	const char *what;      /* it is not, if it is refused: "is not ..." */
	size_t size;	       /* the final zero included */
	bool is_list;	       /* of texts; joined by commas here */
};

/* index < GS_PROBE_TEXTS, here and below; in the order of `name`'s columns. */
const struct gs_probe_text *gs_probe_text(uint32_t index);
const char *gs_probe_text_get(const struct gs_probe_spec *spec, uint32_t index);
/* False: too long; the spec is as it was. What it says is for gs_probe_text_is_valid. */
bool gs_probe_text_set(struct gs_probe_spec *spec, uint32_t index, const char *text);
/* By itself, and as its kind needs it: a probe by DNS has a name to ask for. "" is the default. */
bool gs_probe_text_is_valid(const struct gs_probe_spec *spec, uint32_t index);
void gs_probe_texts_default(struct gs_probe_spec *spec);
/* Do both ask the same? When and how often is not looked at. */
bool gs_probe_asks_same(const struct gs_probe_spec *a, const struct gs_probe_spec *b);
/* Of kinds that go to a port of the backend: none, icmp and exec do not. */
bool gs_probe_needs_port(enum gs_probe_kind kind);

/* ---- what the texts mean --------------------------------------------------------------------- */

enum { GS_STATUS_RANGES_MAX = 12 };

/* HTTP statuses, "200-299,404"; count 0: the default, 200 to 399. */
struct gs_status_set {
	uint8_t count;
	struct {
		uint16_t low, high;
	} ranges[GS_STATUS_RANGES_MAX];
};

/* "" is the default. -EINVAL */
int gs_status_set_parse(const char *text, struct gs_status_set *ret_set);
bool gs_status_set_has(const struct gs_status_set *set, uint16_t status);

/*
 * Printable ASCII as it is, \\ \n \r \t \xHH for the rest. Bytes written, at most strlen(text); or
 * -EINVAL.
 */
int gs_probe_unescape(const char *text, uint8_t *out);

/* A domain name as DNS has it, without escapes; "." is the root. */
bool gs_domain_is_valid(const char *name);
/* "A", "SOA", "TYPE65"; "" is A. 1 .. 65535, or -EINVAL. */
int gs_dns_type_parse(const char *text);
/* "noerror", "nxdomain", ...; "" is noerror. 0 .. 15, or -EINVAL. */
int gs_dns_rcode_parse(const char *text);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attached program's twin: the same program once more, on the edge's own read-only maps and on
 * copies of those it writes, buckets of limits among them. A packet put through it is decided as
 * the attached one would decide it now, and leaves no trace.
 */
#pragma once

#include "user/base/error.h"
#include "user/core/types.h"

#define GS_TWIN_BYTES_MAX 2048u

struct gs_twin;

struct gs_twin_result {
	const char *verdict;		  /* "pass", "drop", "tx" */
	const char *reason;		  /* a name of GS_REASONS */
	const char *text;		  /* of it */
	gs_id service, region, backend;	  /* 0: none */
	uint8_t bytes[GS_TWIN_BYTES_MAX]; /* what would be sent or passed up */
	uint32_t length;
};

/* What the maps say of a backend. */
struct gs_twin_backend {
	const char *mode; /* "ipip", "gue", "l2", "nat"; "none" */
	uint32_t ifindex; /* 0: the one packets come in by */
	uint32_t mtu;	  /* of the way there */
	bool reflect;	  /* sent back to whoever sent it */
};

/*
 * pin_dir: the edge's; object: the BPF object file. -ESTALE: it is not the program that is
 * attached; -EPERM without the right to load programs. *error says what is wrong.
 */
int gs_twin_open(const char *pin_dir, const char *object, struct gs_twin **ret_twin,
		 struct gs_error *error);
/* frame: from the Ethernet header on, at least 14 bytes. What earlier frames have left is forgotten
 * first. */
int gs_twin_run(struct gs_twin *twin, const uint8_t *frame, uint32_t length,
		struct gs_twin_result *ret_result, struct gs_error *error);
int gs_twin_backend(const struct gs_twin *twin, gs_id backend, struct gs_twin_backend *ret_backend);
/* As "c0ffee0123456789"; the kernel's tag of both programs. */
const char *gs_twin_tag(const struct gs_twin *twin);
/* NULL is fine. */
void gs_twin_close(struct gs_twin *twin);

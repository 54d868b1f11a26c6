/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNs that were repeated, or answered with a RST (NAT alone sees those), as a hint that a backend
 * does not serve. Anybody can send a SYN twice, and who can forge a backend's address its RST: so a
 * hint is worth a probe and nothing more, it never counts against a backend. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A hint: since the last look, of the SYNs that opened flows so many in a hundred came again or
 * were reset ... */
#define GS_SYN_HINT_PERCENT 30u
/* ... and so many in all; and so long after the backend's last hint. */
#define GS_SYN_HINT_LEAST 8u
#define GS_SYN_HINT_REST_MS 5000u

/* Of one backend, since its maps were made. */
struct gs_syn_counts {
	uint64_t opened, repeated, resets;
};

/* Of one backend; zeroed: never looked at. */
struct gs_syn_hint {
	struct gs_syn_counts last;
	uint64_t hint_ms; /* of the last hint; 0: none */
	bool is_known;
};

/*
 * A look at the backend's counters (they only grow; if they shrink they are other maps' and this
 * look only learns them). True: probe it now. Looks are to be a second apart or so: a client
 * repeats its SYN after one. now_ms > 0.
 */
bool gs_syn_hint_step(struct gs_syn_hint *hint, const struct gs_syn_counts *counts,
		      uint64_t now_ms);

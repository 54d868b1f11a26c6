/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the data plane to people: the round trips of sampled handshakes, the clients of sampled
 * flows (core/client_sample.h) and what another generation does to them (shift.h), the SYNs of each
 * backend; and where SYNs fail, a probe at once (core/syn_hint.h). Steers nothing.
 *
 * Locations are ids of the tables in force: what was known by location is forgotten when they
 * begin to mean others.
 */
#pragma once

#include "reconcile.h"
#include "round_trips.h"
#include "shift.h"

enum { GS_HANDSHAKES_ONE_IN = 64, GS_HANDSHAKES_ONE_IN_MAX = 65536 };

struct gs_handshakes;

/* All borrowed; they outlive the handshakes. */
struct gs_handshakes_ports {
	struct gs_loop *loop;
	const struct gs_dataplane *dataplane; /* any of its five operations for this may be NULL */
	/* What is in force now; snapshot, tables and monitor may be NULL. */
	const struct gs_reconcile_state *(*look)(void *context);
	void *look_context;
};

/* seed: any value. one_in: 0 or a power of two. Nothing is heard before gs_handshakes_attach.
 * 0 or -errno. */
int gs_handshakes_new(const struct gs_handshakes_ports *ports, uint64_t seed, uint32_t one_in,
		      struct gs_handshakes **ret_handshakes);
/* Before the data plane is closed, and before the loop is. NULL is fine. */
void gs_handshakes_free(struct gs_handshakes *handshakes);

/* Hears the data plane that the port is now, and tells it the rate; its counters are other ones.
 * 0 or -errno of the loop: nothing is heard, but the rate is told. */
int gs_handshakes_attach(struct gs_handshakes *handshakes);
/* Before the port's data plane is closed. NULL is fine. */
void gs_handshakes_detach(struct gs_handshakes *handshakes);
/* From now on; 0: none. */
void gs_handshakes_sample(struct gs_handshakes *handshakes, uint32_t one_in);

/* Before the tables of `change` are freed: judges what it does to clients, and logs it. */
void gs_handshakes_replace(struct gs_handshakes *handshakes,
			   const struct gs_generation_change *change);

uint32_t gs_handshakes_one_in(const struct gs_handshakes *handshakes);
/* Locations are those of the tables in force. Until the loop's next turn. */
const struct gs_round_trips *gs_handshakes_trips(struct gs_handshakes *handshakes);
/* As of the last second; of a backend nobody knows all 0. */
struct gs_syns gs_handshakes_syns(const struct gs_handshakes *handshakes, gs_id backend);
/* Of the last generation that came into force under this daemon's eyes; NULL: there was none. Until
 * the loop's next turn. */
const struct gs_shift *gs_handshakes_shift(const struct gs_handshakes *handshakes);
/* Sampled clients of the last hour: gs_client_sample_read. */
uint32_t gs_handshakes_clients(const struct gs_handshakes *handshakes,
			       struct gs_client_count *ret_counts);

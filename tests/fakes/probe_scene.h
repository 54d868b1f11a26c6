/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real prober on a loop, and sockets on loopback for servers of the same loop: what the tests
 * of kinds of probes share. Fails the test that uses it.
 */
#pragma once

#include "user/adapters/adapters.h"

struct probe_scene {
	struct gs_loop *loop;
	struct gs_prober prober;
	struct gs_timer guard;
	uint32_t wanted; /* the loop stops when so many results are in */
	uint32_t count;
	enum gs_probe_class result; /* the last one */
	uint64_t token;
	uint32_t latency_us;
	uint32_t rtt_us;
	uint32_t results[GS_PROBE_CLASS__COUNT];
	uint8_t seen[1024]; /* results by token */
};

/* settings: NULL for no folder of commands. */
void probe_scene_open(struct probe_scene *scene, const struct gs_probe_settings *settings);
void probe_scene_close(struct probe_scene *scene);
/* One probe, and what comes of it. */
enum gs_probe_class probe_scene_ask(struct probe_scene *scene,
				    const struct gs_probe_target *target);
/* The same, again as long as this machine was too slow to tell (the prober says so: LOCAL). */
enum gs_probe_class probe_scene_ask_silence(struct probe_scene *scene,
					    const struct gs_probe_target *target);
/* Until so many results have come since the last call of anything here but this. */
void probe_scene_run(struct probe_scene *scene, uint32_t wanted);
int probe_scene_begin(struct probe_scene *scene, const struct gs_probe_target *target,
		      uint64_t token);

/* A bound socket on loopback, non-blocking, and its address. type: SOCK_STREAM, SOCK_DGRAM. */
int probe_scene_bind(int family, int type, struct gs_addr *ret_addr, uint16_t *ret_port);
/* The defaults of that kind, with a timeout of 5 s. */
struct gs_probe_target probe_scene_target(enum gs_probe_kind kind, const struct gs_addr *addr,
					  uint16_t port);

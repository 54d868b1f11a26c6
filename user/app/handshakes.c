/* SPDX-License-Identifier: Apache-2.0 */
#include "handshakes.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/syn_hint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TAKE_MOST = 64,	      /* handshakes a turn: probes and verdicts wait no longer than that */
	DISCARD_TURNS = 1024, /* of these, when locations change: what the ring buffer can hold */
	LOOK_MOST = 200,      /* backends a turn */
	LOOK_MS = 1000,	      /* each backend */
	LOG_REST_MS = 60000,  /* between two lines about one backend */
};

struct watched {
	struct gs_syns syns;
	struct gs_syn_hint hint;
	uint64_t logged_ms; /* 0: never */
};

struct gs_handshakes {
	struct gs_handshakes_ports ports;
	struct gs_round_trips *trips;
	uint32_t one_in;
	bool is_attached;
	struct gs_io io; /* fd -1: this data plane has none */
	struct gs_timer timer;
	uint64_t round_ms; /* when the look at all backends began */
	uint32_t at;	   /* of the snapshot's backends: the next one to look at */
	uint64_t digest;   /* of the tables that `locations` was made of; 0: none */
	uint64_t locations;
	struct gs_client_sample clients;
	struct gs_shift shift;
	bool has_shift;
	struct watched backends[GS_MAX_BACKENDS];
};

static const struct gs_dataplane_ops *ops_of(const struct gs_handshakes *h)
{
	return h->ports.dataplane->ops;
}

static const struct gs_reconcile_state *look(const struct gs_handshakes *h)
{
	return h->ports.look(h->ports.look_context);
}

/* ---- locations ------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * 0x100000001b3ULL;
}

/* Equal: location ids mean the same. The database's own come first, then those of overrides. */
static uint64_t locations_of(const struct gs_tables *tables)
{
	uint32_t at = tables->geo ? tables->geo->location_count : 0;
	uint64_t sum = mix(0xcbf29ce484222325ULL, tables->geo ? tables->geo->digest : 0);

	sum = mix(sum, tables->location_count);
	for (; at < tables->location_count; at++)
		sum = mix(sum, tables->locations[at].override_region);
	return sum;
}

/* Those that wait are of locations that are no more, or may be. */
static void discard(struct gs_handshakes *h)
{
	struct gs_handshake taken[TAKE_MOST];
	uint32_t turns = 0;

	if (h->io.fd < 0)
		return;
	while (turns++ < DISCARD_TURNS &&
	       ops_of(h)->take_handshakes(h->ports.dataplane->self, taken, TAKE_MOST) == TAKE_MOST)
		;
}

static void follow_locations(struct gs_handshakes *h)
{
	const struct gs_tables *tables = look(h)->tables;
	uint64_t locations;

	if (!tables || tables->digest == h->digest)
		return;
	h->digest = tables->digest;
	locations = locations_of(tables);
	if (locations == h->locations)
		return;
	h->locations = locations;
	discard(h);
	gs_round_trips_forget_locations(h->trips);
}

/* ---- handshakes ------------------------------------------------------------------------------ */

/* The loop calls it again if more wait. */
static void on_handshakes(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_handshakes *h = io->context;
	uint64_t now_ms = gs_loop_now_ms(h->ports.loop);
	struct gs_handshake taken[TAKE_MOST];
	uint32_t count;

	(void)epoll_events;
	follow_locations(h);
	count = ops_of(h)->take_handshakes(h->ports.dataplane->self, taken, TAKE_MOST);
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_client_flow flow = {taken[i].client, taken[i].service};

		gs_client_sample_add(&h->clients, &flow, now_ms);
		if (!taken[i].rtt_us)
			continue;
		gs_round_trips_add(h->trips, &taken[i], now_ms);
		if (look(h)->breakers)
			gs_breakers_on_handshake(look(h)->breakers, taken[i].service,
						 taken[i].region, taken[i].rtt_us);
	}
}

/* ---- generations ----------------------------------------------------------------------------- */

uint32_t gs_handshakes_clients(const struct gs_handshakes *h, struct gs_client_count *ret_counts)
{
	return gs_client_sample_read(&h->clients, gs_loop_now_ms(h->ports.loop), ret_counts);
}

void gs_handshakes_replace(struct gs_handshakes *h, const struct gs_generation_change *change)
{
	GS_AUTO_FREE struct gs_client_count *counts =
		change->before ? calloc(GS_CLIENT_SAMPLE_MAX, sizeof(*counts)) : NULL;
	uint32_t count;

	if (!counts)
		return;
	count = gs_handshakes_clients(h, counts);
	gs_shift_judge(change->before, change->after, counts, count, &h->shift);
	h->shift.generation = change->generation;
	h->has_shift = true;
	gs_log(GS_LOG_INFO, "clients_shifted",
	       "generation=%lu sampled=%.0f prefixes=%u moved=%.0f share=%.3f",
	       (unsigned long)h->shift.generation, h->shift.flows, h->shift.prefixes,
	       h->shift.moved, h->shift.flows > 0 ? h->shift.moved / h->shift.flows : 0);
}

const struct gs_shift *gs_handshakes_shift(const struct gs_handshakes *h)
{
	return h->has_shift ? &h->shift : NULL;
}

/* ---- SYNs ------------------------------------------------------------------------------------ */

static void probe(struct gs_handshakes *h, const struct gs_backend *backend,
		  const struct gs_syns *was, uint64_t now_ms)
{
	struct gs_monitor *monitor = look(h)->monitor;
	struct watched *watched = &h->backends[backend->id];
	bool is_sent = monitor && gs_monitor_probe_now(monitor, backend->id);

	if (watched->logged_ms && now_ms - watched->logged_ms < LOG_REST_MS)
		return;
	watched->logged_ms = now_ms;
	gs_log(GS_LOG_INFO, "syns_failed", "backend=%s opened=%lu repeated=%lu resets=%lu probe=%s",
	       backend->name, (unsigned long)(watched->syns.opened - was->opened),
	       (unsigned long)(watched->syns.repeated - was->repeated),
	       (unsigned long)(watched->syns.resets - was->resets), is_sent ? "sent" : "none");
}

static void look_at(struct gs_handshakes *h, const struct gs_backend *backend, uint64_t now_ms)
{
	struct watched *watched = &h->backends[backend->id];
	struct gs_syns was = watched->syns, syns;
	struct gs_syn_counts counts;

	if (ops_of(h)->syns(h->ports.dataplane->self, backend->id, &syns))
		return;
	watched->syns = syns;
	counts = (struct gs_syn_counts){syns.opened, syns.repeated, syns.resets};
	if (gs_syn_hint_step(&watched->hint, &counts, now_ms))
		probe(h, backend, &was, now_ms);
}

/* Until this second's next turn, or the next second's first. */
static uint32_t wait_ms(const struct gs_handshakes *h, uint32_t count, uint64_t now_ms)
{
	uint32_t turns = (count + LOOK_MOST - 1) / LOOK_MOST;
	uint64_t spent_ms = now_ms - h->round_ms;

	if (h->at > 0)
		return turns < LOOK_MS ? LOOK_MS / turns : 1;
	return spent_ms < LOOK_MS ? (uint32_t)(LOOK_MS - spent_ms) : 1;
}

static void on_look(struct gs_timer *timer)
{
	struct gs_handshakes *h = timer->context;
	const struct gs_snapshot *snapshot = look(h)->snapshot;
	uint32_t count = snapshot ? snapshot->backend_count : 0, left = LOOK_MOST;
	uint64_t now_ms = gs_loop_now_ms(h->ports.loop);

	follow_locations(h);
	if (h->at == 0)
		h->round_ms = now_ms;
	if (!h->is_attached || !ops_of(h)->syns)
		count = 0;
	for (; h->at < count && left > 0; left--)
		look_at(h, &snapshot->backends[h->at++], now_ms);
	if (h->at >= count)
		h->at = 0;
	gs_loop_timer_set(h->ports.loop, timer, wait_ms(h, count, now_ms));
}

/* ---- life ------------------------------------------------------------------------------------ */

void gs_handshakes_sample(struct gs_handshakes *h, uint32_t one_in)
{
	h->one_in = one_in;
	if (h->is_attached && ops_of(h)->sample_handshakes)
		ops_of(h)->sample_handshakes(h->ports.dataplane->self, one_in);
}

int gs_handshakes_attach(struct gs_handshakes *h)
{
	const struct gs_dataplane_ops *ops = ops_of(h);

	gs_handshakes_detach(h);
	h->is_attached = true;
	memset(h->backends, 0, sizeof(h->backends));
	gs_handshakes_sample(h, h->one_in);
	if (!ops->handshake_fd || !ops->take_handshakes)
		return 0;
	h->io.fd = ops->handshake_fd(h->ports.dataplane->self);
	return h->io.fd < 0 ? 0 : gs_loop_io_set(h->ports.loop, &h->io, GS_LOOP_READABLE);
}

void gs_handshakes_detach(struct gs_handshakes *h)
{
	if (!h || !h->is_attached)
		return;
	if (h->io.fd >= 0)
		gs_loop_io_clear(h->ports.loop, &h->io);
	h->io.fd = -1;
	h->is_attached = false;
}

int gs_handshakes_new(const struct gs_handshakes_ports *ports, uint64_t seed, uint32_t one_in,
		      struct gs_handshakes **ret_handshakes)
{
	struct gs_handshakes *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->ports = *ports;
	h->one_in = one_in;
	h->clients.random = seed;
	h->io = (struct gs_io){.fd = -1, .on_ready = on_handshakes, .context = h};
	h->timer = (struct gs_timer){.on_due = on_look, .context = h};
	err = gs_round_trips_new(seed, &h->trips);
	if (!err)
		err = gs_loop_timer_set(ports->loop, &h->timer, LOOK_MS);
	if (err) {
		gs_round_trips_free(h->trips);
		free(h);
		return err;
	}
	*ret_handshakes = h;
	return 0;
}

void gs_handshakes_free(struct gs_handshakes *h)
{
	if (!h)
		return;
	gs_handshakes_detach(h);
	gs_loop_timer_clear(h->ports.loop, &h->timer);
	gs_round_trips_free(h->trips);
	free(h);
}

/* ---- what is shown --------------------------------------------------------------------------- */

uint32_t gs_handshakes_one_in(const struct gs_handshakes *h)
{
	return h->one_in;
}

const struct gs_round_trips *gs_handshakes_trips(struct gs_handshakes *h)
{
	follow_locations(h);
	return h->trips;
}

struct gs_syns gs_handshakes_syns(const struct gs_handshakes *h, gs_id backend)
{
	return backend < GS_MAX_BACKENDS ? h->backends[backend].syns : (struct gs_syns){0};
}

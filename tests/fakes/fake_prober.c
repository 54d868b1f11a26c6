/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_prober.h"

#include "user/base/cleanup.h"

#include <stdlib.h>
#include <string.h>

struct fake_probe {
	struct fake_prober *fake;
	struct fake_probe *next;
	struct gs_timer timer;
	gs_id backend;
	uint64_t token;
	struct fake_answer answer;
};

static void drop(struct fake_probe *probe)
{
	struct fake_probe **link = &probe->fake->probes;

	while (*link != probe)
		link = &(*link)->next;
	*link = probe->next;
	gs_loop_timer_clear(probe->fake->loop, &probe->timer);
	probe->fake->backend[probe->backend].running--;
	free(probe);
}

static void on_due(struct gs_timer *timer)
{
	struct fake_probe *probe = timer->context;
	struct fake_prober *fake = probe->fake;
	struct fake_answer answer = probe->answer;
	uint32_t rtt_us = fake->backend[probe->backend].rtt_us;
	uint64_t token = probe->token;

	drop(probe);
	fake->events->on_result(fake->context, token, answer.class, answer.after_ms * 1000, rtt_us);
}

static int start(void *self, const struct gs_prober_events *events, void *context)
{
	struct fake_prober *fake = self;

	fake->events = events;
	fake->context = context;
	return fake->start_error;
}

static int probe(void *self, const struct gs_probe_target *target, uint64_t token)
{
	struct fake_prober *fake = self;
	struct fake_backend *backend = &fake->backend[target->backend];
	struct fake_answer answer = backend->answer;
	struct fake_probe *started;

	if (backend->script)
		answer = backend->script(backend->context, target->backend, backend->probes);
	backend->probes++;
	backend->last_start_ms = gs_loop_now_ms(fake->loop);
	backend->last_target = *target;
	if (answer.error)
		return answer.error;
	if (answer.class == GS_PROBE_TIMEOUT)
		answer.after_ms = target->spec.timeout_ms;

	started = calloc(1, sizeof(*started));
	*started = (struct fake_probe){
		.fake = fake,
		.next = fake->probes,
		.timer = {.on_due = on_due, .context = started},
		.backend = target->backend,
		.token = token,
		.answer = answer,
	};
	fake->probes = started;
	if (++backend->running > backend->running_max)
		backend->running_max = backend->running;
	return gs_loop_timer_set(fake->loop, &started->timer, answer.after_ms);
}

static void cancel(void *self, gs_id backend)
{
	struct fake_prober *fake = self;
	struct fake_probe *next;

	fake->backend[backend].cancels++;
	for (struct fake_probe *at = fake->probes; at; at = next) {
		next = at->next;
		if (at->backend == backend)
			drop(at);
	}
}

static void close_fake(void *self)
{
	fake_prober_done(self);
}

void fake_prober_init(struct fake_prober *fake, struct gs_loop *loop, struct gs_prober *ret_prober)
{
	static const struct gs_prober_ops ops = {
		.start = start, .probe = probe, .cancel = cancel, .close = close_fake};

	fake->loop = loop;
	*ret_prober = (struct gs_prober){.ops = &ops, .self = fake};
}

void fake_prober_done(struct fake_prober *fake)
{
	while (fake->probes)
		drop(fake->probes);
}

int fake_watch(struct gs_monitor *monitor, const struct gs_probe_target *targets, uint32_t count,
	       enum gs_health_state (*warm)(void *warm_context, gs_id backend), void *warm_context)
{
	GS_AUTO_FREE struct gs_monitor_target *copies = calloc(count + 1u, sizeof(*copies));
	GS_AUTO_FREE struct gs_probe_spec *specs = calloc(count + 1u, sizeof(*specs));

	if (!copies || !specs)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		copies[i] = (struct gs_monitor_target){.backend = targets[i].backend,
						       .addr = targets[i].addr,
						       .port = targets[i].port,
						       .is_through = targets[i].is_through,
						       .vip = targets[i].vip,
						       .spec = i};
		memcpy(copies[i].service, targets[i].service, sizeof(copies[i].service));
		memcpy(copies[i].name, targets[i].name, sizeof(copies[i].name));
		specs[i] = targets[i].spec;
	}
	return gs_monitor_set_targets(monitor,
				      &(struct gs_monitor_set){.targets = copies,
							       .specs = specs,
							       .count = count,
							       .spec_count = count,
							       .warm = warm,
							       .warm_context = warm_context});
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "user/base/cleanup.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define GUARD_MS 60000 /* a hung test ends, and fails */

static void on_result(void *context, uint64_t token, enum gs_probe_class result,
		      uint32_t latency_us, uint32_t rtt_us)
{
	struct probe_scene *scene = context;

	scene->result = result;
	scene->token = token;
	scene->latency_us = latency_us;
	scene->rtt_us = rtt_us;
	scene->results[result]++;
	if (token < ARRAY_SIZE(scene->seen))
		scene->seen[token]++;
	if (++scene->count >= scene->wanted)
		gs_loop_stop(scene->loop);
}

static void on_guard(struct gs_timer *timer)
{
	struct probe_scene *scene = timer->context;

	print_message("only %u of %u results came\n", scene->count, scene->wanted);
	gs_loop_stop(scene->loop);
}

void probe_scene_open(struct probe_scene *scene, const struct gs_probe_settings *settings)
{
	static const struct gs_prober_events events = {.on_result = on_result};
	static const struct gs_probe_settings none = {.commands = "/nowhere"};
	struct gs_error error;

	memset(scene, 0, sizeof(*scene));
	assert_int_equal(gs_loop_new(&scene->loop), 0);
	assert_int_equal(
		gs_probe_open(scene->loop, settings ? settings : &none, &scene->prober, &error), 0);
	scene->guard = (struct gs_timer){.on_due = on_guard, .context = scene};
	assert_int_equal(scene->prober.ops->start(scene->prober.self, &events, scene), 0);
}

void probe_scene_close(struct probe_scene *scene)
{
	scene->prober.ops->close(scene->prober.self);
	gs_loop_free(scene->loop);
}

void probe_scene_run(struct probe_scene *scene, uint32_t wanted)
{
	scene->wanted = wanted;
	gs_loop_timer_set(scene->loop, &scene->guard, GUARD_MS);
	if (scene->count < wanted)
		assert_int_equal(gs_loop_run(scene->loop), 0);
	gs_loop_timer_clear(scene->loop, &scene->guard);
	assert_int_equal(scene->count, wanted);
}

int probe_scene_begin(struct probe_scene *scene, const struct gs_probe_target *target,
		      uint64_t token)
{
	return scene->prober.ops->probe(scene->prober.self, target, token);
}

enum gs_probe_class probe_scene_ask(struct probe_scene *scene, const struct gs_probe_target *target)
{
	scene->count = 0;
	assert_int_equal(probe_scene_begin(scene, target, 1), 0);
	assert_int_equal(scene->count, 0); /* never before the loop turns */
	probe_scene_run(scene, 1);
	return scene->result;
}

enum gs_probe_class probe_scene_ask_silence(struct probe_scene *scene,
					    const struct gs_probe_target *target)
{
	enum gs_probe_class class = GS_PROBE_LOCAL;

	for (int i = 0; i < 50 && class == GS_PROBE_LOCAL; i++)
		class = probe_scene_ask(scene, target);
	return class;
}

int probe_scene_bind(int family, int type, struct gs_addr *ret_addr, uint16_t *ret_port)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *address =
		family == AF_INET ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
	socklen_t size = family == AF_INET ? sizeof(in) : sizeof(in6);
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, address, size), 0);
	assert_int_equal(getsockname(fd, address, &size), 0);
	memset(ret_addr, 0, sizeof(*ret_addr));
	if (family == AF_INET) {
		memset(ret_addr->bytes + 10, 0xff, 2);
		memcpy(ret_addr->bytes + 12, &in.sin_addr, 4);
		*ret_port = ntohs(in.sin_port);
	} else {
		memcpy(ret_addr->bytes, &in6.sin6_addr, 16);
		*ret_port = ntohs(in6.sin6_port);
	}
	return fd;
}

struct gs_probe_target probe_scene_target(enum gs_probe_kind kind, const struct gs_addr *addr,
					  uint16_t port)
{
	struct gs_probe_target target = {
		.backend = 7, .service = "web", .name = "eu-1", .addr = *addr, .port = port};

	target.spec = gs_probe_spec_default();
	target.spec.kind = kind;
	target.spec.timeout_ms = 5000;
	return target;
}

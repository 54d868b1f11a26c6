/* SPDX-License-Identifier: Apache-2.0 */
#include "ready.h"

#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <stdarg.h>
#include <stdio.h>

static void add(struct gs_ready *ready, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void add(struct gs_ready *ready, const char *format, ...)
{
	va_list arguments;

	if (ready->count == GS_READY_REASONS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(ready->why[ready->count++], sizeof(ready->why[0]), format, arguments);
	va_end(arguments);
}

/* Does any region have a pool of the service that takes new flows? */
static bool has_backend(const struct gs_reconcile_state *state, gs_id service)
{
	for (uint32_t i = 0; i < state->snapshot->region_count; i++) {
		gs_id region = state->snapshot->regions[i].id;
		const struct gs_usable_pool *pool =
			gs_usable_view_pool(state->view, service, region);

		if (pool && state->view->regions[region].state == GS_USABLE_UP &&
		    (pool->word.state == GS_USABLE_UP || pool->word.state == GS_USABLE_TRIAL))
			return true;
	}
	return false;
}

static void judge_vip(const struct gs_reconcile_state *state, const struct gs_addr *vip,
		      struct gs_ready *ready)
{
	uint32_t services = 0, usable = 0;
	char text[GS_ADDR_TEXT_MAX];

	gs_addr_format(vip, text);
	for (uint32_t i = 0; i < state->snapshot->service_count; i++) {
		const struct gs_service *service = &state->snapshot->services[i];

		if (gs_addr_compare(&service->vip, vip) != 0)
			continue;
		services++;
		usable += has_backend(state, service->id);
	}
	if (services == 0)
		add(ready, "no service has the address %s", text);
	else if (usable == 0)
		add(ready, "no service at %s has a usable backend in any region", text);
}

static void judge_reach(const struct gs_reach_state *reach, struct gs_ready *ready)
{
	if (reach->drain.is_drained)
		add(ready, "the edge is drained%s%s", reach->drain.reason[0] ? ": " : "",
		    reach->drain.reason);
	if (reach->problem[0])
		add(ready, "%s", reach->problem);
	else if (reach->carrier_count == 0)
		add(ready, "no interface has the program of these maps");
	else if (reach->up_count == 0)
		add(ready, "no interface with the program is up");
}

void gs_ready_judge(const struct gs_api *api, const struct gs_addr *vip, struct gs_ready *ret_ready)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);

	ret_ready->count = 0;
	if (state->info.generation == 0)
		add(ret_ready, "no generation is in force");
	if (state->maps_are_others)
		add(ret_ready, "the pinned maps are not those this daemon writes");
	if (!state->snapshot || !state->view) {
		add(ret_ready, "no configuration has been read yet");
		if (api->reach && gs_reach_state(api->reach)->drain.is_drained)
			judge_reach(gs_reach_state(api->reach), ret_ready);
		return;
	}
	if (gs_monitor_unknown_count(state->monitor) > 0)
		add(ret_ready, "not every backend has been probed yet");
	if (api->reach)
		judge_reach(gs_reach_state(api->reach), ret_ready);
	if (vip)
		judge_vip(state, vip, ret_ready);
}

const char *gs_ready_why(const struct gs_ready *ready, char *out, size_t room)
{
	size_t length = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < ready->count && length < room; i++)
		length += (size_t)snprintf(out + length, room - length, "%s%s", i ? "; " : "",
					   ready->why[i]);
	return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Backends that are held down because they flap: shown, and let go. */
#include "api.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/snapshot.h"

#include <stdlib.h>

void gs_api_add_damping(json_t *json, const struct gs_reconcile_state *state,
			const struct gs_service *service, gs_id backend, uint64_t now_ms)
{
	struct gs_dampings_status status;
	char text[GS_DAMPING_TEXT_MAX];

	if (!gs_dampings_get(state->dampings, service, backend, now_ms, &status))
		return;
	json_object_set_new(json, "flap_penalty", json_integer((json_int_t)status.penalty));
	json_object_set_new(json, "flaps", json_integer(status.flaps));
	if (!*gs_dampings_text(&status, text))
		return;
	json_object_set_new(json, "damped", json_string(text));
	json_object_set_new(json, "damped_s",
			    json_integer((json_int_t)(status.left_ms + 999) / 1000));
}

json_t *gs_api_damping_clear(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const char *actor = json_string_value(json_object_get(request, "actor"));
	GS_AUTO_FREE struct gs_overlay_names *names = NULL;
	struct gs_error error = {""};
	uint32_t count = 0, cleared = 0;
	json_t *refused = NULL;

	names = gs_api_names(state, "backend", json_object_get(request, "names"), &count, &refused);
	if (!names)
		return refused;
	if (gs_reconcile_undamp(api->reconcile, names, count, actor ? actor : "", &cleared,
				&error) != 0)
		return gs_api_error("%s", error.text);
	return json_pack("{s:i, s:i}", "backends", (int)count, "cleared", (int)cleared);
}

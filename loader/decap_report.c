// SPDX-License-Identifier: Apache-2.0
#include "loader/decap.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

static const char *mss_word(const struct gs_decap_conf *conf)
{
	static const char *const words[] = {"off", "auto", "fixed"};

	return conf->mss_mode < GS_DECAP_MSS__COUNT ? words[conf->mss_mode] : "?";
}

void gs_decap_print(const struct gs_decap_status *status, FILE *out)
{
	const struct gs_nic *nic = &status->nic;
	char text[GS_DECAP_TEXT_MAX];

	if (!status->is_attached) {
		fprintf(out, "%s: the backend kit is not attached\n", nic->name);
		return;
	}
	fprintf(out, "%s: attached, mode %s, program %s id %u, link %u\n", nic->name,
		gs_xdp_mode_name(nic->mode), nic->program.name, nic->program.id, nic->link_id);
	for (uint32_t i = 0; i < status->lists.edge_count; i++)
		fprintf(out, "  edge  %s\n", gs_decap_format_edge(&status->lists.edges[i], text));
	for (uint32_t i = 0; i < status->lists.vip_count; i++)
		fprintf(out, "  vip   %s\n", gs_decap_format_vip(&status->lists.vips[i], text));
	fprintf(out, "  mss   %s", mss_word(&status->conf));
	if (status->conf.mss_mode != GS_DECAP_MSS_OFF)
		fprintf(out, ", %u over IPv4, %u over IPv6%s", status->conf.mss4, status->conf.mss6,
			status->has_egress ? "" : ": THE FILTER AT EGRESS IS GONE, attach again");
	fputc('\n', out);
	for (uint32_t i = 0; i < GS_DECAP__COUNT; i++) {
		if (status->counts[i])
			fprintf(out, "  %-16s %12" PRIu64 "  %s\n", gs_decap_reason_name(i),
				status->counts[i], gs_decap_reason_text(i));
	}
}

static json_t *lists_json(const struct gs_decap_status *status, json_t *json)
{
	json_t *edges = json_array(), *vips = json_array();
	char text[GS_DECAP_TEXT_MAX];

	for (uint32_t i = 0; i < status->lists.edge_count; i++)
		json_array_append_new(
			edges, json_string(gs_decap_format_edge(&status->lists.edges[i], text)));
	for (uint32_t i = 0; i < status->lists.vip_count; i++)
		json_array_append_new(
			vips, json_string(gs_decap_format_vip(&status->lists.vips[i], text)));
	json_object_set_new(json, "edges", edges);
	json_object_set_new(json, "vips", vips);
	return json;
}

static json_t *counts_json(const struct gs_decap_status *status)
{
	json_t *json = json_object();

	for (uint32_t i = 0; i < GS_DECAP__COUNT; i++)
		json_object_set_new(json, gs_decap_reason_name(i),
				    json_integer((json_int_t)status->counts[i]));
	return json;
}

int gs_decap_print_json(const struct gs_decap_status *status, FILE *out)
{
	const struct gs_nic *nic = &status->nic;
	json_t *json =
		json_pack("{s:s, s:b, s:s, s:s, s:I}", "interface", nic->name, "attached",
			  status->is_attached, "holder", gs_nic_holder_name(nic->holder), "mode",
			  gs_xdp_mode_name(nic->mode), "program", (json_int_t)nic->program.id);
	int ret;

	if (!json)
		return -ENOMEM;
	if (status->is_attached) {
		lists_json(status, json);
		json_object_set_new(
			json, "mss",
			json_pack("{s:s, s:i, s:i, s:b}", "mode", mss_word(&status->conf), "ipv4",
				  (int)status->conf.mss4, "ipv6", (int)status->conf.mss6, "filter",
				  status->has_egress));
		json_object_set_new(json, "counts", counts_json(status));
	}
	ret = json_dumpf(json, out, JSON_INDENT(2)) ? -ENOMEM : 0;
	json_decref(json);
	return ret;
}

// SPDX-License-Identifier: Apache-2.0
#include "loader/doctor_report.h"

#include <errno.h>
#include <jansson.h>

void gs_doctor_print(const struct gs_findings *findings, FILE *out)
{
	for (uint32_t i = 0; i < findings->count; i++) {
		const struct gs_finding *finding = &findings->list[i];

		fprintf(out, "%-4s  %-12s  %s%s%s\n", gs_level_name(finding->level), finding->check,
			finding->text, finding->remedy[0] ? "  fix: " : "", finding->remedy);
	}
}

static json_t *json_of_finding(const struct gs_finding *finding)
{
	json_t *json = json_pack("{s:s, s:s, s:s}", "level", gs_level_name(finding->level), "check",
				 finding->check, "found", finding->text);

	json_object_set_new(json, "remedy",
			    finding->remedy[0] ? json_string(finding->remedy) : json_null());
	return json;
}

int gs_doctor_print_json(const struct gs_doctor_facts *facts, const struct gs_findings *findings,
			 FILE *out)
{
	json_t *list = json_array(), *json;
	int ret;

	for (uint32_t i = 0; i < findings->count; i++)
		json_array_append_new(list, json_of_finding(&findings->list[i]));
	json = json_pack("{s:s, s:s, s:i, s:i, s:o}", "interface", facts->interface, "role",
			 facts->is_backend ? "backend" : "edge", "bad",
			 (int)gs_doctor_count(findings, GS_LEVEL_BAD), "warn",
			 (int)gs_doctor_count(findings, GS_LEVEL_WARN), "findings", list);
	if (!json)
		return -ENOMEM;
	ret = json_dumpf(json, out, JSON_INDENT(2)) ? -ENOMEM : 0;
	fputc('\n', out);
	json_decref(json);
	return ret;
}

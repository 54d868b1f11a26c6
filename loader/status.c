// SPDX-License-Identifier: Apache-2.0
#include "loader/status.h"

#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- gathering -------------------------------------------------------------------------------*/

static int by_name(const void *left, const void *right)
{
	return strcmp(left, right);
}

static void read_pinned(const struct gs_pins *pins, struct gs_status *status)
{
	DIR *dir = opendir(pins->dir);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)) && status->pinned_count < GS_STATUS_PINNED_MAX) {
		size_t length = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || length >= sizeof(status->pinned[0]))
			continue;
		memcpy(status->pinned[status->pinned_count++], entry->d_name, length + 1);
	}
	closedir(dir);
	qsort(status->pinned, status->pinned_count, sizeof(status->pinned[0]), by_name);
}

static int64_t age_ms(uint64_t heartbeat_ns)
{
	struct timespec now;
	uint64_t now_ns;

	if (!heartbeat_ns)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return now_ns > heartbeat_ns ? (int64_t)((now_ns - heartbeat_ns) / 1000000u) : 0;
}

static void read_our_meta(const struct gs_meta_value *meta, struct gs_status *status)
{
	status->is_readable = true;
	status->slot = meta->active;
	if (meta->active < GS_GENERATIONS)
		status->generation = meta->generation[meta->active].number;
	status->flow_buckets = meta->flow_mask + 1;
	status->nat_planes = meta->nat_mask + 1;
	status->controller_pid = meta->controller_pid;
	status->heartbeat_age_ms = age_ms(meta->heartbeat_ns);
}

static void read_meta(const struct gs_pins *pins, struct gs_status *status)
{
	char path[GS_PINS_PATH_MAX];
	struct bpf_map_info info = {0};
	struct gs_meta_value meta = {0};
	uint32_t size = sizeof(info), key = 0;
	GS_AUTO_FREE void *value = NULL;
	GS_AUTO_CLOSE int fd = -1;

	gs_pins_path(pins, "", GS_MAP_META, path);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY ||
	    info.value_size < sizeof(meta.layout_version))
		return;
	value = calloc(1, info.value_size);
	if (!value || bpf_map_lookup_elem(fd, &key, value))
		return;
	memcpy(&meta, value, info.value_size < sizeof(meta) ? info.value_size : sizeof(meta));
	status->has_meta = true;
	status->layout_version = meta.layout_version;
	if (meta.layout_version == GS_MAPS_VERSION && info.value_size == sizeof(meta))
		read_our_meta(&meta, status);
}

int gs_status_read(const char *interface, const char *pin_dir, struct gs_status *ret_status,
		   struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	struct gs_status status = {.heartbeat_age_ms = -1};
	int ret;

	ret = gs_nic_look(interface, NULL, &status.nic, error);
	if (ret)
		return ret;
	snprintf(status.pin_dir, sizeof(status.pin_dir), "%s", pin_dir);
	ret = gs_pins_open(pin_dir, false, &pins, error);
	if (ret == -ENOENT || ret == -EMEDIUMTYPE) {
		*ret_status = status;
		return 0;
	}
	if (ret)
		return ret;
	ret = gs_nic_look(interface, &pins, &status.nic, error);
	if (ret)
		return ret;
	read_pinned(&pins, &status);
	read_meta(&pins, &status);
	*ret_status = status;
	return 0;
}

/* ---- text ------------------------------------------------------------------------------------*/

static void print_program(FILE *out, const char *label, const struct gs_program_id *program)
{
	fprintf(out, "    %-11s %s  id %u  tag %s\n", label, program->name, program->id,
		program->tag);
}

static void print_nic(const struct gs_nic *nic, FILE *out)
{
	static const char *const what[GS_NIC__COUNT] = {
		[GS_NIC_FREE] = "not attached, no XDP program",
		[GS_NIC_LINK] = "attached, alone",
		[GS_NIC_DISPATCHER] = "attached, beside others",
		[GS_NIC_FOREIGN] = "not attached, another XDP program is",
		[GS_NIC_FOREIGN_DISPATCHER] = "not attached, libxdp's dispatcher is",
	};

	fprintf(out, "%s: %s\n", nic->name, what[nic->holder]);
	if (nic->holder == GS_NIC_FREE)
		return;
	fprintf(out, "    %-11s %s\n", "mode", gs_xdp_mode_name(nic->mode));
	if (nic->holder == GS_NIC_LINK)
		fprintf(out, "    %-11s %u  %s\n", "link", nic->link_id, nic->link_pin);
	if (nic->holder == GS_NIC_DISPATCHER || nic->holder == GS_NIC_FOREIGN_DISPATCHER)
		fprintf(out, "    %-11s libxdp's, program id %u\n", "dispatcher", nic->attached_id);
	if (nic->holder != GS_NIC_FOREIGN_DISPATCHER)
		print_program(out, "program", &nic->program);
	for (uint32_t i = 0; i < nic->leftover_count; i++)
		print_program(out, "leftover", &nic->leftovers[i]);
	if (nic->leftover_count)
		fprintf(out,
			"    %-11s a replace died half way, leftovers forward too: "
			"'geostream-loader replace %s' removes them\n",
			"", nic->name);
	for (uint32_t i = 0; i < nic->other_count; i++)
		print_program(out, "beside", &nic->others[i]);
}

static void print_meta(const struct gs_status *status, FILE *out)
{
	if (!status->has_meta)
		return;
	fprintf(out, "    %-11s version %u%s\n", "layout", status->layout_version,
		status->is_readable ? "" : ", not this program's");
	if (!status->is_readable)
		return;
	if (status->generation)
		fprintf(out, "    %-11s %" PRIu64 " in force, slot %u\n", "generation",
			status->generation, status->slot);
	else
		fprintf(out, "    %-11s none in force yet\n", "generation");
	fprintf(out, "    %-11s %u buckets\n", "flows", status->flow_buckets);
	fprintf(out, "    %-11s %u planes\n", "nat", status->nat_planes);
	if (status->heartbeat_age_ms < 0)
		fprintf(out, "    %-11s none yet\n", "controller");
	else
		fprintf(out, "    %-11s pid %u, heartbeat %" PRId64 ".%03" PRId64 " s ago\n",
			"controller", status->controller_pid, status->heartbeat_age_ms / 1000,
			status->heartbeat_age_ms % 1000);
}

void gs_status_print(const struct gs_status *status, FILE *out)
{
	int column = 0;

	print_nic(&status->nic, out);
	fprintf(out, "%s:%s\n", status->pin_dir, status->pinned_count ? "" : " nothing pinned");
	print_meta(status, out);
	for (uint32_t i = 0; i < status->pinned_count; i++) {
		if (column && column + strlen(status->pinned[i]) > 92) {
			fputc('\n', out);
			column = 0;
		}
		column += fprintf(out,
				  column ? " %s"
				  : i	 ? "                %s"
					 : "    pinned      %s",
				  status->pinned[i]);
	}
	if (column)
		fputc('\n', out);
}

/* ---- JSON ------------------------------------------------------------------------------------*/

static json_t *json_of_program(const struct gs_program_id *program)
{
	return json_pack("{s:I, s:s, s:s}", "id", (json_int_t)program->id, "name", program->name,
			 "tag", program->tag);
}

static json_t *json_of_programs(const struct gs_program_id *programs, uint32_t count)
{
	json_t *json = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(json, json_of_program(&programs[i]));
	return json;
}

static json_t *json_of_nic(const struct gs_nic *nic)
{
	bool is_ours = nic->holder == GS_NIC_LINK || nic->holder == GS_NIC_DISPATCHER;
	json_t *json;

	json = json_pack("{s:s, s:I, s:b, s:s, s:o, s:o}", "interface", nic->name, "ifindex",
			 (json_int_t)nic->ifindex, "attached", is_ours, "holder",
			 gs_nic_holder_name(nic->holder), "beside",
			 json_of_programs(nic->others, nic->other_count), "leftovers",
			 json_of_programs(nic->leftovers, nic->leftover_count));
	if (!json || nic->holder == GS_NIC_FREE)
		return json;
	json_object_set_new(json, "mode", json_string(gs_xdp_mode_name(nic->mode)));
	json_object_set_new(json, "attached_id", json_integer(nic->attached_id));
	if (nic->link_id)
		json_object_set_new(json, "link_id", json_integer(nic->link_id));
	if (nic->holder == GS_NIC_LINK)
		json_object_set_new(json, "link_pin", json_string(nic->link_pin));
	if (nic->holder != GS_NIC_FOREIGN_DISPATCHER)
		json_object_set_new(json, "program", json_of_program(&nic->program));
	return json;
}

static void add_meta(json_t *json, const struct gs_status *status)
{
	json_t *age =
		status->heartbeat_age_ms < 0 ? json_null() : json_integer(status->heartbeat_age_ms);

	if (status->has_meta)
		json_object_set_new(json, "layout_version", json_integer(status->layout_version));
	if (!status->is_readable) {
		json_decref(age);
		return;
	}
	json_object_set_new(json, "generation", json_integer((json_int_t)status->generation));
	json_object_set_new(json, "slot", json_integer(status->slot));
	json_object_set_new(json, "flow_buckets", json_integer(status->flow_buckets));
	json_object_set_new(json, "nat_planes", json_integer(status->nat_planes));
	json_object_set_new(json, "controller_pid", json_integer(status->controller_pid));
	json_object_set_new(json, "heartbeat_age_ms", age);
}

int gs_status_print_json(const struct gs_status *status, FILE *out)
{
	json_t *json = json_of_nic(&status->nic);
	json_t *pinned = json_array();
	int ret;

	for (uint32_t i = 0; i < status->pinned_count; i++)
		json_array_append_new(pinned, json_string(status->pinned[i]));
	json_object_set_new(json, "pin_dir", json_string(status->pin_dir));
	json_object_set_new(json, "pinned", pinned);
	add_meta(json, status);
	ret = json_dumpf(json, out, JSON_INDENT(2)) ? -ENOMEM : 0;
	fputc('\n', out);
	json_decref(json);
	return ret;
}

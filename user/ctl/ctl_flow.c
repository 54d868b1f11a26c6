// SPDX-License-Identifier: Apache-2.0
/*
 * flow: the packet path's flow table. An entry does not say whose it is (adapters/flow_table.h), so
 * lists have backends and ages, and only who names a flow is told of it.
 */
#include "user/adapters/flow_table.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_explain.h"
#include "user/ctl/ctl_names.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_LIMIT = 100, TCP_SYN = 0x02, IDS = 65536, WAYS_MAX = 64, ANSWER = 16 };

static void close_table_ptr(struct gs_flow_table **table)
{
	gs_flow_table_close(*table);
}
#define AUTO_TABLE GS_CLEANUP(close_table_ptr)
#define AUTO_NAMES GS_CLEANUP(gs_ctl_names_done)

/* ---- which entries --------------------------------------------------------------------------- */

struct choice {
	const char *backend_name, *service_name;
	gs_id backend, service; /* 0: any */
	bool has_state, is_all, is_sure;
	enum gs_flow_state state;
	uint64_t limit;
	const char *by;
};

static bool is_chosen(const struct choice *choice, const struct gs_flow_row *row)
{
	return (!choice->backend || row->backend == choice->backend) &&
	       (!choice->service || row->service == choice->service) &&
	       (!choice->has_state || row->state == choice->state);
}

static int take_state(const char *verb, const char *text, struct choice *choice)
{
	choice->has_state = true;
	if (gs_flow_state_parse(text, &choice->state) == 0)
		return GS_CTL_DONE;
	return gs_ctl_usage("flow", verb,
			    "--state: \"%s\" is none of active, quiet, unproven, closed, abandoned",
			    text);
}

static int take_limit(const char *verb, const char *text, struct choice *choice)
{
	if (!gs_ctl_digits(text, &choice->limit))
		return gs_ctl_usage("flow", verb, "--limit: \"%s\" is no number (0: no limit)",
				    text);
	return GS_CTL_DONE;
}

static int take_by(const char *verb, const char *text, struct choice *choice)
{
	static const char *const words[] = {"backend", "service", "state", "region"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(text, words[i]) == 0) {
			choice->by = words[i];
			return GS_CTL_DONE;
		}
	return gs_ctl_usage("flow", verb, "--by: \"%s\" is none of backend, service, state, region",
			    text);
}

static bool take_switch(const char *option, struct choice *choice)
{
	if (strcmp(option, "--all") == 0)
		choice->is_all = true;
	else if (strcmp(option, "--yes") == 0)
		choice->is_sure = true;
	else
		return false;
	return true;
}

/* value NULL: it is missing. */
static int take_value(const char *verb, const char *option, const char *value,
		      struct choice *choice)
{
	if (!value)
		return gs_ctl_usage("flow", verb, "%s: a value expected", option);
	if (strcmp(option, "--state") == 0)
		return take_state(verb, value, choice);
	if (strcmp(option, "--by") == 0)
		return take_by(verb, value, choice);
	if (strcmp(option, "--limit") == 0)
		return take_limit(verb, value, choice);
	*(strcmp(option, "--backend") == 0 ? &choice->backend_name : &choice->service_name) = value;
	return GS_CTL_DONE;
}

/* options: those the verb has; NULL at the end. argv ends with NULL, too. */
static int take_choice(const char *verb, const char *const *options, int argc, char **argv,
		       struct choice *choice)
{
	int result = GS_CTL_DONE;

	for (int i = 0; i < argc && result == GS_CTL_DONE; i++) {
		size_t known = 0;

		while (options[known] && strcmp(options[known], argv[i]) != 0)
			known++;
		if (!options[known])
			return gs_ctl_unexpected("flow", verb, argv[i], options, known);
		if (take_switch(argv[i], choice))
			continue;
		result = take_value(verb, argv[i], argv[i + 1], choice);
		i++;
	}
	return result;
}

static int find_names(const struct gs_ctl *ctl, struct choice *choice, struct gs_ctl_names *names)
{
	gs_ctl_names_load(ctl, names);
	if (choice->backend_name) {
		choice->backend = gs_ctl_name_id(names, GS_CTL_BACKEND, choice->backend_name);
		if (!choice->backend)
			return GS_CTL_FAILED;
	}
	if (choice->service_name) {
		choice->service = gs_ctl_name_id(names, GS_CTL_SERVICE, choice->service_name);
		if (!choice->service)
			return GS_CTL_FAILED;
	}
	return GS_CTL_DONE;
}

static int open_table(const struct gs_ctl *ctl, bool writes, struct gs_flow_table **ret_table)
{
	struct gs_error error;

	if (gs_flow_table_open(ctl->pin_dir, writes, ret_table, &error))
		return gs_ctl_fail("%s", error.text);
	return GS_CTL_DONE;
}

/* ---- flow list ------------------------------------------------------------------------------- */

struct list {
	const struct gs_ctl *ctl;
	const struct choice *choice;
	const struct gs_ctl_names *names;
	json_t *json; /* with -j */
	uint64_t found;
};

static json_t *row_json(const struct gs_ctl_names *names, const struct gs_flow_row *row)
{
	json_t *json =
		json_pack("{s:I, s:i}", "bucket", (json_int_t)row->bucket, "way", (int)row->way);

	json_object_set_new(json, "tag", json_sprintf("%08x", row->tag));
	json_object_set_new(json, "backend", gs_ctl_name_json(names, GS_CTL_BACKEND, row->backend));
	json_object_set_new(json, "service", gs_ctl_name_json(names, GS_CTL_SERVICE, row->service));
	json_object_set_new(json, "region", gs_ctl_name_json(names, GS_CTL_REGION, row->region));
	json_object_set_new(json, "state", json_string(gs_flow_state_name(row->state)));
	json_object_set_new(json, "proven", json_boolean(row->is_proven));
	json_object_set_new(json, "closed", json_boolean(row->is_closed));
	json_object_set_new(json, "age_s", json_integer(row->age_s));
	return json;
}

static bool list_row(void *context, const struct gs_flow_row *row)
{
	struct list *list = context;
	char service[GS_CTL_NAME_MAX], region[GS_CTL_NAME_MAX], backend[GS_CTL_NAME_MAX];

	if (!is_chosen(list->choice, row))
		return true;
	list->found++;
	if (list->choice->limit && list->found > list->choice->limit)
		return true; /* only counted */
	if (list->json) {
		json_array_append_new(list->json, row_json(list->names, row));
		return true;
	}
	gs_ctl_printf("%8u %3u  %08x  %-9s %6u s  %-16s %-12s %s\n", row->bucket, row->way,
		      row->tag, gs_flow_state_name(row->state), row->age_s,
		      gs_ctl_name(list->names, GS_CTL_SERVICE, row->service, service),
		      gs_ctl_name(list->names, GS_CTL_REGION, row->region, region),
		      gs_ctl_name(list->names, GS_CTL_BACKEND, row->backend, backend));
	return !ferror(stdout);
}

static int flow_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	static const char *const options[] = {"--backend", "--service", "--state", "--limit", NULL};
	AUTO_TABLE struct gs_flow_table *table = NULL;
	AUTO_NAMES struct gs_ctl_names names = {0};
	struct choice choice = {.limit = LIST_LIMIT};
	GS_AUTO_JSON json_t *json = NULL;
	struct list list = {.ctl = ctl, .choice = &choice, .names = &names};
	int result = take_choice("list", options, argc, argv, &choice);

	if (result == GS_CTL_DONE)
		result = open_table(ctl, false, &table);
	if (result == GS_CTL_DONE)
		result = find_names(ctl, &choice, &names);
	if (result)
		return result;
	if (ctl->json)
		list.json = json = json_array();
	else
		printf("%8s %3s  %-8s  %-9s %8s  %-16s %-12s %s\n", "bucket", "way", "tag", "state",
		       "seen", "service", "region", "backend");
	gs_flow_table_walk(table, list_row, &list);
	fflush(stdout);
	if (choice.limit && list.found > choice.limit)
		fprintf(stderr, "%llu more; --limit 0 has them all\n",
			(unsigned long long)(list.found - choice.limit));
	return ctl->json ? gs_ctl_print(json) : GS_CTL_DONE;
}

/* ---- flow show ------------------------------------------------------------------------------- */

struct named_flow {
	struct gs_flow_key key;
	bool has_src, has_dst, has_sport, has_dport, has_proto;
};

static int take_flow_port(const char *option, const char *text, uint16_t *ret_port)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port < 1 || port > UINT16_MAX)
		return gs_ctl_usage("flow", "show", "%s: \"%s\" is no port", option, text);
	*ret_port = (uint16_t)port;
	return GS_CTL_DONE;
}

static int take_flow_address(const char *option, const char *text, struct gs_addr *ret_addr)
{
	if (gs_addr_parse(text, ret_addr))
		return gs_ctl_usage("flow", "show", "%s: \"%s\" is no IPv4 or IPv6 address", option,
				    text);
	return GS_CTL_DONE;
}

static int take_flow_option(struct named_flow *flow, const char *option, const char *value)
{
	static const char *const options[] = {"--src", "--sport", "--dst", "--dport", "--proto"};

	if (strcmp(option, "--src") == 0) {
		flow->has_src = true;
		return take_flow_address(option, value, &flow->key.src);
	}
	if (strcmp(option, "--dst") == 0) {
		flow->has_dst = true;
		return take_flow_address(option, value, &flow->key.dst);
	}
	if (strcmp(option, "--sport") == 0) {
		flow->has_sport = true;
		return take_flow_port(option, value, &flow->key.sport);
	}
	if (strcmp(option, "--dport") == 0) {
		flow->has_dport = true;
		return take_flow_port(option, value, &flow->key.dport);
	}
	if (strcmp(option, "--proto") == 0) {
		flow->has_proto = true;
		if (gs_protocol_parse(value, &flow->key.protocol))
			return gs_ctl_usage("flow", "show",
					    "--proto: \"%s\" is neither tcp nor udp", value);
		return GS_CTL_DONE;
	}
	return gs_ctl_unexpected("flow", "show", option, options, ARRAY_SIZE(options));
}

static int take_flow(struct named_flow *flow, int argc, char **argv)
{
	for (int i = 0; i < argc; i += 2) {
		int result;

		if (i + 1 == argc && strncmp(argv[i], "--", 2) == 0)
			return gs_ctl_usage("flow", "show", "%s: a value expected", argv[i]);
		result = take_flow_option(flow, argv[i], i + 1 < argc ? argv[i + 1] : "");
		if (result)
			return result;
	}
	if (!flow->has_src || !flow->has_dst || !flow->has_sport || !flow->has_dport ||
	    !flow->has_proto)
		return gs_ctl_usage("flow", "show",
				    "--src, --sport, --dst, --dport and --proto expected");
	if (gs_addr_is_v4(&flow->key.src) != gs_addr_is_v4(&flow->key.dst))
		return gs_ctl_usage("flow", "show", "--src and --dst are of two IP versions");
	return GS_CTL_DONE;
}

static void print_row(const struct gs_ctl_names *names, const struct gs_flow_row *row)
{
	char service[GS_CTL_NAME_MAX], region[GS_CTL_NAME_MAX], backend[GS_CTL_NAME_MAX];

	gs_ctl_printf("entry      bucket %u, way %u, tag %08x\n", row->bucket, row->way, row->tag);
	gs_ctl_printf("backend    %s in %s, of %s\n",
		      gs_ctl_name(names, GS_CTL_BACKEND, row->backend, backend),
		      gs_ctl_name(names, GS_CTL_REGION, row->region, region),
		      gs_ctl_name(names, GS_CTL_SERVICE, row->service, service));
	gs_ctl_printf("state      %s: %s, %s, seen %u s ago\n", gs_flow_state_name(row->state),
		      row->is_proven ? "proven" : "not proven yet",
		      row->is_closed ? "closed" : "open", row->age_s);
}

/* Of a flow the table does not have: what its first packet would meet now. */
static int show_absent(const struct gs_ctl *ctl, const struct named_flow *flow, uint32_t bucket)
{
	const struct gs_frame_spec spec = {
		.src = flow->key.src,
		.dst = flow->key.dst,
		.sport = flow->key.sport,
		.dport = flow->key.dport,
		.protocol = flow->key.protocol,
		.tcp_flags = flow->key.protocol == GS_PROTOCOL_TCP ? TCP_SYN : 0,
	};
	GS_AUTO_JSON json_t *explained = gs_ctl_explain(ctl, &spec);
	const char *backend = gs_ctl_text(explained, "backend");

	if (ctl->json) {
		GS_AUTO_JSON json_t *json = json_pack("{s:b, s:I, s:O?}", "known", 0, "bucket",
						      (json_int_t)bucket, "explain", explained);

		return gs_ctl_print(json);
	}
	printf("entry      none (it would be in bucket %u)\n", bucket);
	if (!explained)
		return GS_CTL_FAILED;
	gs_ctl_printf("if new     %s, %s%s%s%s%s: %s\n", gs_ctl_text(explained, "verdict"),
		      gs_ctl_text(explained, "reason"), *backend ? ", to " : "", backend,
		      *backend ? " in " : "", *backend ? gs_ctl_text(explained, "region") : "",
		      gs_ctl_text(explained, "text"));
	return GS_CTL_DONE;
}

static int flow_show(const struct gs_ctl *ctl, int argc, char **argv)
{
	AUTO_TABLE struct gs_flow_table *table = NULL;
	AUTO_NAMES struct gs_ctl_names names = {0};
	struct named_flow flow = {0};
	struct gs_flow_row row;
	GS_AUTO_JSON json_t *json = NULL;
	int result = take_flow(&flow, argc, argv);

	if (result == GS_CTL_DONE)
		result = open_table(ctl, false, &table);
	if (result)
		return result;
	if (!gs_flow_table_find(table, &flow.key, &row))
		return show_absent(ctl, &flow, row.bucket);
	gs_ctl_names_load(ctl, &names);
	if (!ctl->json) {
		print_row(&names, &row);
		return GS_CTL_DONE;
	}
	json = row_json(&names, &row);
	json_object_set_new(json, "known", json_true());
	return gs_ctl_print(json);
}

/* ---- flow count ------------------------------------------------------------------------------ */

struct tally {
	uint64_t of[IDS]; /* by id, or state */
	uint64_t states[GS_FLOW_IS__COUNT];
	uint64_t entries;
	uint32_t bucket, used, active; /* of the bucket under way */
	uint32_t full, taken;	       /* buckets without an empty entry; without one to give up */
	const char *by;
};

static void end_bucket(struct tally *tally)
{
	tally->full += tally->used == gs_flow_table_ways();
	tally->taken += tally->active == gs_flow_table_ways();
	tally->used = tally->active = 0;
}

static bool count_row(void *context, const struct gs_flow_row *row)
{
	struct tally *tally = context;

	if (row->bucket != tally->bucket)
		end_bucket(tally);
	tally->bucket = row->bucket;
	tally->used++;
	tally->active += row->state == GS_FLOW_IS_ACTIVE;
	tally->entries++;
	tally->states[row->state]++;
	if (!tally->by)
		return true;
	if (strcmp(tally->by, "backend") == 0)
		tally->of[row->backend]++;
	else if (strcmp(tally->by, "service") == 0)
		tally->of[row->service]++;
	else if (strcmp(tally->by, "region") == 0)
		tally->of[row->region]++;
	else
		tally->of[row->state]++;
	return true;
}

/* of[i] is whose? "-" of a backend that is gone. */
static const char *tally_name(const struct tally *tally, const struct gs_ctl_names *names,
			      uint32_t i, char out[GS_CTL_NAME_MAX])
{
	if (strcmp(tally->by, "backend") == 0)
		return gs_ctl_name(names, GS_CTL_BACKEND, (gs_id)i, out);
	if (strcmp(tally->by, "service") == 0)
		return gs_ctl_name(names, GS_CTL_SERVICE, (gs_id)i, out);
	if (strcmp(tally->by, "region") == 0)
		return gs_ctl_name(names, GS_CTL_REGION, (gs_id)i, out);
	return gs_flow_state_name((enum gs_flow_state)i);
}

static int print_tally_json(const struct tally *tally, const struct gs_ctl_names *names,
			    uint64_t buckets)
{
	json_int_t capacity = (json_int_t)buckets * gs_flow_table_ways();
	GS_AUTO_JSON json_t *json = json_pack(
		"{s:I, s:I, s:I, s:I, s:I}", "entries", (json_int_t)tally->entries, "capacity",
		capacity, "buckets", (json_int_t)buckets, "full_buckets", (json_int_t)tally->full,
		"buckets_in_use_whole", (json_int_t)tally->taken);
	json_t *states = json_object(), *by = json_object();
	char name[GS_CTL_NAME_MAX];

	for (int i = 0; i < GS_FLOW_IS__COUNT; i++)
		json_object_set_new(states, gs_flow_state_name((enum gs_flow_state)i),
				    json_integer((json_int_t)tally->states[i]));
	json_object_set_new(json, "states", states);
	for (uint32_t i = 0; tally->by && i < IDS; i++)
		if (tally->of[i])
			json_object_set_new(by, tally_name(tally, names, i, name),
					    json_integer((json_int_t)tally->of[i]));
	if (tally->by)
		json_object_set(json, tally->by, by);
	json_decref(by);
	return gs_ctl_print(json);
}

static int print_tally(const struct tally *tally, const struct gs_ctl_names *names,
		       uint64_t buckets)
{
	uint64_t capacity = buckets * gs_flow_table_ways();
	char name[GS_CTL_NAME_MAX];

	printf("entries    %llu of %llu (%.1f %%)\n", (unsigned long long)tally->entries,
	       (unsigned long long)capacity, 100.0 * (double)tally->entries / (double)capacity);
	printf("buckets    %llu: %u without an empty entry, %u with nothing but flows in use\n",
	       (unsigned long long)buckets, tally->full, tally->taken);
	printf("states    ");
	for (int i = 0; i < GS_FLOW_IS__COUNT; i++)
		printf(" %llu %s%s", (unsigned long long)tally->states[i],
		       gs_flow_state_name((enum gs_flow_state)i),
		       i + 1 < GS_FLOW_IS__COUNT ? "," : "\n");
	for (uint32_t i = 0; tally->by && i < IDS; i++)
		if (tally->of[i])
			gs_ctl_printf("%-10s %-20s %llu\n", tally->by,
				      tally_name(tally, names, i, name),
				      (unsigned long long)tally->of[i]);
	return GS_CTL_DONE;
}

static int flow_count(const struct gs_ctl *ctl, int argc, char **argv)
{
	static const char *const options[] = {"--by", NULL};
	GS_AUTO_FREE struct tally *tally = calloc(1, sizeof(*tally));
	AUTO_TABLE struct gs_flow_table *table = NULL;
	AUTO_NAMES struct gs_ctl_names names = {0};
	struct choice choice = {0};
	int result = take_choice("count", options, argc, argv, &choice);

	if (result == GS_CTL_DONE)
		result = open_table(ctl, false, &table);
	if (result)
		return result;
	if (!tally)
		return gs_ctl_fail("out of memory");
	tally->by = choice.by;
	gs_flow_table_walk(table, count_row, tally);
	end_bucket(tally);
	if (choice.by && strcmp(choice.by, "state") != 0)
		gs_ctl_names_load(ctl, &names);
	return ctl->json ? print_tally_json(tally, &names, gs_flow_table_buckets(table))
			 : print_tally(tally, &names, gs_flow_table_buckets(table));
}

/* ---- flow flush ------------------------------------------------------------------------------ */

struct flush {
	const struct choice *choice;
	struct gs_flow_table *table;
	uint64_t chosen, gone;
	bool is_real;
};

static bool flush_row(void *context, const struct gs_flow_row *row)
{
	struct flush *flush = context;

	if (!is_chosen(flush->choice, row))
		return true;
	flush->chosen++;
	if (flush->is_real)
		flush->gone += gs_flow_table_erase(flush->table, row);
	return true;
}

/* Without --yes a person at a terminal is asked; nobody else is there to be. */
static int make_sure(const struct choice *choice, uint64_t count)
{
	char answer[ANSWER];

	if (choice->is_sure)
		return GS_CTL_DONE;
	if (!isatty(STDIN_FILENO))
		return gs_ctl_usage("flow", "flush",
				    "%llu flows would be forgotten; --yes says that this is meant",
				    (unsigned long long)count);
	fprintf(stderr, "%llu flows would be forgotten; what they send next is decided anew. yes? ",
		(unsigned long long)count);
	if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0)
		return GS_CTL_DONE;
	return gs_ctl_fail("nothing was changed");
}

static int flush_table(const struct gs_ctl *ctl, struct flush *flush)
{
	GS_AUTO_JSON json_t *json = NULL;
	int result;

	gs_flow_table_walk(flush->table, flush_row, flush);
	result = make_sure(flush->choice, flush->chosen);
	if (result)
		return result;
	flush->is_real = true;
	gs_flow_table_walk(flush->table, flush_row, flush);
	if (!ctl->json) {
		printf("%llu flows forgotten\n", (unsigned long long)flush->gone);
		return GS_CTL_DONE;
	}
	json = json_pack("{s:I}", "forgotten", (json_int_t)flush->gone);
	return gs_ctl_print(json);
}

static int flow_flush(const struct gs_ctl *ctl, int argc, char **argv)
{
	static const char *const options[] = {"--backend", "--service", "--all", "--yes", NULL};
	AUTO_TABLE struct gs_flow_table *table = NULL;
	AUTO_NAMES struct gs_ctl_names names = {0};
	struct choice choice = {0};
	struct flush flush = {.choice = &choice};
	int result = take_choice("flush", options, argc, argv, &choice);

	if (result)
		return result;
	if (choice.is_all + !!choice.backend_name + !!choice.service_name != 1)
		return gs_ctl_usage("flow", "flush",
				    "one of --backend, --service and --all expected");
	result = open_table(ctl, true, &table);
	if (result == GS_CTL_DONE && !choice.is_all)
		result = find_names(ctl, &choice, &names);
	if (result)
		return result;
	flush.table = table;
	return flush_table(ctl, &flush);
}

const struct gs_ctl_command gs_ctl_flow_commands[] = {
	{"flow", "list", "[--backend NAME|--service NAME|--state STATE] [--limit N]",
	 "entries of the flow table (they hold no addresses: only who names a flow finds it) (root)",
	 flow_list},
	{"flow", "show", "--src ADDRESS --sport N --dst ADDRESS --dport N --proto tcp|udp",
	 "a flow's entry, or what would become of its first packet (root)", flow_show},
	{"flow", "count", "[--by backend|service|state|region]",
	 "how many flows the table holds, and how full it is (root)", flow_count},
	{"flow", "flush", "--backend NAME|--service NAME|--all [--yes]",
	 "forget flows: what they send next is decided anew (root)", flow_flush},
	{NULL, NULL, NULL, NULL, NULL},
};

// SPDX-License-Identifier: Apache-2.0
#include "user/ctl/ctl_explain_say.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/ctl/ctl_ask.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

enum { ETHERNET = 14, TAG = 4, TAGS_MAX = 2, IP4 = 20, IP6 = 40 };

/* ---- opening --------------------------------------------------------------------------------- */

int gs_ctl_explainer_open(const struct gs_ctl *ctl, const char *object, const char *interface,
			  struct gs_ctl_explainer *ret_explainer)
{
	const struct gs_twin_options options = {
		.pin_dir = ctl->pin_dir, .object = object, .interface = interface};
	struct gs_ctl_explainer explainer = {.ctl = ctl};
	struct gs_error error;

	if (gs_twin_open(&options, &explainer.twin, &error))
		return gs_ctl_fail("%s", error.text);
	if (gs_flow_table_open(ctl->pin_dir, false, &explainer.flows, &error)) {
		gs_ctl_explainer_done(&explainer);
		return gs_ctl_fail("%s", error.text);
	}
	/* Without the daemon packets are decided all the same; only its account is missing. */
	gs_ctl_names_load(ctl, &explainer.names);
	*ret_explainer = explainer;
	return GS_CTL_DONE;
}

void gs_ctl_explainer_done(struct gs_ctl_explainer *explainer)
{
	gs_twin_close(explainer->twin);
	gs_flow_table_close(explainer->flows);
	gs_ctl_names_done(&explainer->names);
	*explainer = (struct gs_ctl_explainer){0};
}

/* ---- the packet as it came ------------------------------------------------------------------- */

static void set_name(const struct gs_ctl_explainer *explainer, json_t *json, const char *key,
		     enum gs_ctl_kind kind, gs_id id)
{
	json_object_set_new(json, key, gs_ctl_name_json(&explainer->names, kind, id));
}

static void set_end(json_t *json, const char *key, const char *port_key, const struct gs_addr *addr,
		    uint16_t port)
{
	char text[GS_ADDR_TEXT_MAX];

	json_object_set_new(json, key, json_string(gs_addr_format(addr, text)));
	json_object_set_new(json, port_key, port ? json_integer(port) : json_null());
}

static json_t *packet_json(const struct gs_sampled *said)
{
	json_t *json =
		json_pack("{s:s, s:s, s:i, s:i}", "protocol", said->protocol, "shape", said->shape,
			  "tcp_flags", (int)said->tcp_flags, "length", (int)said->length);

	if (!json || !said->has_addresses)
		return json;
	set_end(json, "src", "sport", &said->src, said->sport);
	set_end(json, "dst", "dport", &said->dst, said->dport);
	return json;
}

static json_t *interface_json(const struct gs_twin_interface *in)
{
	if (!in->ifindex)
		return json_null();
	return json_pack("{s:s, s:i, s:i}", "name", in->name, "ifindex", (int)in->ifindex,
			 "attached", (int)in->attached);
}

/* ---- the flow -------------------------------------------------------------------------------- */

/* A fragment whose first is not known is of no flow that could be named. */
static bool has_flow(const struct gs_sampled *said)
{
	return said->service && said->has_addresses && strcmp(said->reason, "drop_fragment") != 0 &&
	       (strcmp(said->protocol, "tcp") == 0 || strcmp(said->protocol, "udp") == 0);
}

/* The edge's own entry, which no packet of the twin's has touched; null: none. */
static json_t *flow_json(const struct gs_ctl_explainer *explainer, const struct gs_sampled *said)
{
	struct gs_flow_key key = {.src = said->src,
				  .dst = said->dst,
				  .sport = said->sport,
				  .dport = said->dport,
				  .protocol = strcmp(said->protocol, "udp") == 0 ? GS_PROTOCOL_UDP
										 : GS_PROTOCOL_TCP};
	struct gs_flow_row row;
	json_t *json;

	if (!has_flow(said) || !gs_flow_table_find(explainer->flows, &key, &row))
		return json_null();
	json = json_pack("{s:s, s:b, s:b, s:i}", "state", gs_flow_state_name(row.state), "proven",
			 row.is_proven, "closed", row.is_closed, "age_s", (int)row.age_s);
	set_name(explainer, json, "backend", GS_CTL_BACKEND, row.backend);
	return json;
}

/* NULL: it is no packet that comes back from NAT. */
static json_t *reply_json(const struct gs_ctl_explainer *explainer)
{
	struct gs_twin_reply reply;
	json_t *json;

	if (!gs_twin_reply(explainer->twin, &reply))
		return NULL;
	json = json_object();
	set_end(json, "client", "client_port", &reply.client, reply.client_port);
	set_end(json, "vip", "vip_port", &reply.vip, reply.vip_port);
	json_object_set_new(json, "port", json_integer(reply.port));
	set_name(explainer, json, "service", GS_CTL_SERVICE, reply.service);
	set_name(explainer, json, "region", GS_CTL_REGION, reply.region);
	set_name(explainer, json, "backend", GS_CTL_BACKEND, reply.backend);
	return json;
}

/* ---- what came out --------------------------------------------------------------------------- */

static uint32_t word_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* Where the IP header begins; adds the tags in front of it. */
static uint32_t add_tags(json_t *json, const struct gs_twin_result *result)
{
	uint32_t at = ETHERNET - 2;
	json_t *tags = NULL;

	for (int i = 0; i < TAGS_MAX && at + 2 + TAG <= result->length; i++) {
		uint32_t type = word_at(result->bytes + at);

		if (type != 0x8100 && type != 0x88a8)
			break;
		tags = tags ? tags : json_array();
		json_array_append_new(tags, json_integer(word_at(result->bytes + at + 2) & 0xfff));
		at += TAG;
	}
	if (tags)
		json_object_set_new(json, "vlan", tags);
	return at + 2;
}

static void add_ip_addresses(json_t *json, const uint8_t *ip, bool is_v4)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	inet_ntop(is_v4 ? AF_INET : AF_INET6, ip + (is_v4 ? 12 : 8), src, sizeof(src));
	inet_ntop(is_v4 ? AF_INET : AF_INET6, ip + (is_v4 ? 16 : 24), dst, sizeof(dst));
	json_object_set_new(json, "from", json_string(src));
	json_object_set_new(json, "to", json_string(dst));
}

/* Of TCP and UDP; not of later fragments, nor behind extension headers. */
static void add_ip_ports(json_t *json, const uint8_t *ip, uint32_t length, bool is_v4)
{
	uint32_t at = is_v4 ? (ip[0] & 15u) * 4 : IP6;
	uint8_t protocol = ip[is_v4 ? 9 : 6];

	if (length < at + 4 || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    (is_v4 && word_at(ip + 6) & 0x1fff))
		return;
	json_object_set_new(json, "from_port", json_integer(word_at(ip + at)));
	json_object_set_new(json, "to_port", json_integer(word_at(ip + at + 2)));
}

/* Source and destination of the outermost headers. */
static void add_ends(json_t *json, const struct gs_twin_result *result)
{
	uint32_t at = add_tags(json, result);
	const uint8_t *ip = result->bytes + at;
	uint32_t length = result->length > at ? result->length - at : 0;
	bool is_v4 = length >= IP4 && ip[0] >> 4 == 4, is_v6 = length >= IP6 && ip[0] >> 4 == 6;

	if (!is_v4 && !is_v6)
		return;
	add_ip_addresses(json, ip, is_v4);
	add_ip_ports(json, ip, length, is_v4);
}

static void add_macs(json_t *json, const uint8_t *frame)
{
	char text[18];

	for (int i = 0; i < 2; i++) {
		const uint8_t *mac = frame + (i == 0 ? 6 : 0);

		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
		json_object_set_new(json, i == 0 ? "src_mac" : "dst_mac", json_string(text));
	}
}

/* How it is sent: to the backend by its mode, "reply" to a client, "answer" to whoever asked. */
static json_t *forward_json(const struct gs_twin *twin, const struct gs_twin_result *result)
{
	struct gs_twin_backend backend = {0};
	json_t *json;

	if (strcmp(result->said.verdict, "tx") != 0 || result->length < ETHERNET)
		return json_null();
	if (result->said.backend && gs_twin_backend(twin, result->said.backend, &backend))
		return json_null();
	if (!backend.mode)
		backend.mode =
			strcmp(result->said.reason, "tx_nat_reply") == 0 ? "reply" : "answer";
	json = json_pack("{s:s}", "mode", backend.mode);
	add_macs(json, result->bytes);
	if (result->said.backend) {
		json_object_set_new(json, "mtu", json_integer(backend.mtu));
		json_object_set_new(json, "reflected", json_boolean(backend.reflect));
		json_object_set_new(json, "by_kernel", json_boolean(backend.is_asked));
		/* 0: as it came. */
		json_object_set_new(json, "ifindex", json_integer(backend.ifindex));
	}
	add_ends(json, result);
	return json;
}

/* By which interface, and whether that is another one; null: not at all, or not known. */
static json_t *leaves_json(const struct gs_twin *twin, const struct gs_twin_result *result)
{
	char name[IF_NAMESIZE];

	if (strcmp(result->said.verdict, "tx") != 0 || !gs_twin_interface(twin)->ifindex)
		return json_null();
	return json_pack("{s:s, s:i, s:s?}", "by", result->is_redirected ? "redirect" : "tx",
			 "ifindex", (int)result->said.out_ifindex, "interface",
			 if_indextoname(result->said.out_ifindex, name));
}

/* ---- what stands in the way ------------------------------------------------------------------ */

/* The one it went to, was to go to, or would by the daemon's account. */
static gs_id region_of(const struct gs_ctl_explainer *explainer, const struct gs_sampled *said,
		       gs_id picked, const json_t *plan)
{
	const char *name = gs_ctl_text(json_object_get(plan, "winner"), "region");
	struct gs_twin_backend backend;

	if (said->region)
		return said->region;
	if (picked && gs_twin_backend(explainer->twin, picked, &backend) == 0)
		return backend.region;
	return *name ? gs_ctl_name_id(&explainer->names, GS_CTL_REGION, name) : 0;
}

/* What is used of each limit. A client whom a rule allows is under none of clients. */
static json_t *limits_json(const struct gs_twin *twin, gs_id region, const json_t *plan)
{
	bool is_allowed =
		strcmp(gs_ctl_text(json_object_get(plan, "access"), "action"), "allow") == 0;
	struct gs_twin_limit limits[GS_TWIN_LIMITS_MAX];
	int count = gs_twin_limits(twin, region, limits);
	json_t *list = json_array();

	for (int i = 0; i < count; i++)
		if (!is_allowed || strcmp(limits[i].of, "client") != 0)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:I, s:i}", "of", limits[i].of, "kind",
						limits[i].kind, "a_second",
						(json_int_t)limits[i].a_second, "used_percent",
						(int)limits[i].used_percent));
	return list;
}

static json_t *controller_json(const struct gs_twin *twin)
{
	struct gs_twin_stale stale;

	if (!gs_twin_stale(twin, &stale))
		return json_null();
	return json_pack("{s:I, s:s, s:I}", "away_s", (json_int_t)stale.away_s, "then", stale.then,
			 "after_s", (json_int_t)stale.after_s);
}

/* The daemon's own account of the client's location and plan; NULL: it is away, or no service. */
static json_t *plan_json(struct gs_ctl_explainer *explainer, const struct gs_sampled *said)
{
	char client[GS_ADDR_TEXT_MAX];
	json_t *plan;

	if (!said->service || !said->has_addresses || explainer->is_daemon_away)
		return NULL;
	plan = gs_ctl_ask(
		explainer->ctl,
		json_pack("{s:s, s:s, s:o}", "command", "route.get", "address",
			  gs_addr_format(&said->src, client), "service",
			  gs_ctl_name_json(&explainer->names, GS_CTL_SERVICE, said->service)),
		GS_CTL_ASK_MS);
	explainer->is_daemon_away = !plan;
	return plan;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Says that the table knew it, or an earlier packet of the same capture. */
static bool is_known(const char *reason)
{
	return strcmp(reason, "tx_flow") == 0 || strcmp(reason, "tx_fragment") == 0 ||
	       strcmp(reason, "tx_repicked") == 0;
}

static json_t *result_json(struct gs_ctl_explainer *explainer, const struct gs_twin_result *result)
{
	const struct gs_sampled *said = &result->said;
	gs_id picked = gs_twin_picked(explainer->twin);
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:s}", "verdict", said->verdict, "reason", said->reason,
			  "text", said->text, "program", gs_twin_tag(explainer->twin));
	json_t *plan = plan_json(explainer, said), *reply = reply_json(explainer);

	if (!json)
		return NULL;
	json_object_set_new(json, "packet", packet_json(said));
	json_object_set_new(json, "interface", interface_json(gs_twin_interface(explainer->twin)));
	set_name(explainer, json, "service", GS_CTL_SERVICE, said->service);
	set_name(explainer, json, "region", GS_CTL_REGION, said->region);
	set_name(explainer, json, "backend", GS_CTL_BACKEND, said->backend);
	set_name(explainer, json, "picked", GS_CTL_BACKEND, picked);
	json_object_set_new(json, "known_flow", json_boolean(is_known(said->reason)));
	json_object_set_new(json, "flow", flow_json(explainer, said));
	json_object_set_new(
		json, "limits",
		limits_json(explainer->twin, region_of(explainer, said, picked, plan), plan));
	json_object_set_new(json, "controller", controller_json(explainer->twin));
	json_object_set_new(json, "forward", forward_json(explainer->twin, result));
	json_object_set_new(json, "leaves", leaves_json(explainer->twin, result));
	if (reply)
		json_object_set_new(json, "reply", reply);
	if (plan)
		json_object_set_new(json, "plan", plan);
	return json;
}

json_t *gs_ctl_explain_frame(struct gs_ctl_explainer *explainer, const uint8_t *frame,
			     uint32_t length)
{
	GS_AUTO_FREE struct gs_twin_result *result = malloc(sizeof(*result));
	struct gs_error error;
	json_t *json;

	if (!result) {
		gs_ctl_fail("out of memory");
		return NULL;
	}
	if (gs_twin_run(explainer->twin, frame, length, result, &error)) {
		gs_ctl_fail("%s", error.text);
		return NULL;
	}
	json = result_json(explainer, result);
	if (!json)
		gs_ctl_fail("out of memory");
	return json;
}

/* ---- for people ------------------------------------------------------------------------------ */

/* "192.0.2.1:80", "[2001:db8::1]:80"; without a port the address alone. */
static const char *end_text(const json_t *json, const char *key, const char *port_key,
			    char out[GS_ADDR_TEXT_MAX + 16])
{
	const char *addr = gs_ctl_text(json, key);
	bool is_v6 = strchr(addr, ':');

	if (!json_is_integer(json_object_get(json, port_key)))
		snprintf(out, GS_ADDR_TEXT_MAX + 16, "%s", addr);
	else
		snprintf(out, GS_ADDR_TEXT_MAX + 16, "%s%s%s:%d", is_v6 ? "[" : "", addr,
			 is_v6 ? "]" : "", (int)gs_ctl_number(json, port_key));
	return out;
}

static void print_packet(const json_t *packet)
{
	static const struct {
		const char *shape, *text;
	} shapes[] = {
		{"whole", ""},
		{"first", "first fragment of "},
		{"later", "later fragment of "},
		{"error", "ICMP error about "},
		{"echo", ""},
	};
	char src[GS_ADDR_TEXT_MAX + 16], dst[GS_ADDR_TEXT_MAX + 16];
	const char *shape = "";

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (strcmp(gs_ctl_text(packet, "shape"), shapes[i].shape) == 0)
			shape = shapes[i].text;
	if (json_object_get(packet, "src"))
		gs_ctl_printf("packet     %lld bytes, %s%s %s -> %s\n",
			      gs_ctl_number(packet, "length"), shape,
			      gs_ctl_text(packet, "protocol"),
			      end_text(packet, "src", "sport", src),
			      end_text(packet, "dst", "dport", dst));
	else
		gs_ctl_printf("packet     %lld bytes, without addresses that could be read\n",
			      gs_ctl_number(packet, "length"));
}

static void print_interface(const json_t *interface)
{
	json_int_t attached = gs_ctl_number(interface, "attached");

	if (!json_is_object(interface)) {
		puts("interface  unknown: none of this network namespace carries the program; so "
		     "what the kernel's\n           routes say, and by what it leaves, is not "
		     "known");
		return;
	}
	gs_ctl_printf("interface  in by %s (%lld)", gs_ctl_text(interface, "name"),
		      gs_ctl_number(interface, "ifindex"));
	if (attached > 1)
		gs_ctl_printf(", one of %lld that carry the program (--iface)", attached);
	putchar('\n');
}

static void print_flow(const json_t *json)
{
	const json_t *flow = json_object_get(json, "flow");

	if (json_is_object(flow))
		gs_ctl_printf("flow       known: backend %s, %s, seen %lld s ago\n",
			      gs_ctl_text(flow, "backend"), gs_ctl_text(flow, "state"),
			      gs_ctl_number(flow, "age_s"));
	else if (json_is_true(json_object_get(json, "known_flow")))
		puts("flow       known by an earlier packet of this capture");
	else
		puts("flow       not known");
}

static void print_reply(const json_t *reply)
{
	char client[GS_ADDR_TEXT_MAX + 16], vip[GS_ADDR_TEXT_MAX + 16];

	gs_ctl_printf("reply      from NAT, of the flow %s -> %s\n",
		      end_text(reply, "client", "client_port", client),
		      end_text(reply, "vip", "vip_port", vip));
	gs_ctl_printf("service    %s\n", gs_ctl_text(reply, "service"));
	gs_ctl_printf("backend    %s in %s, where the flow is the edge's port %lld\n",
		      gs_ctl_text(reply, "backend"), gs_ctl_text(reply, "region"),
		      gs_ctl_number(reply, "port"));
}

static void print_limits(const json_t *limits)
{
	const json_t *limit;
	size_t i;

	json_array_foreach (limits, i, limit)
		gs_ctl_printf("%-10s %s %s: %lld %% of %lld a second\n", i == 0 ? "used" : "",
			      gs_ctl_text(limit, "of"), gs_ctl_text(limit, "kind"),
			      gs_ctl_number(limit, "used_percent"),
			      gs_ctl_number(limit, "a_second"));
}

static void print_controller(const json_t *controller)
{
	const char *then = gs_ctl_text(controller, "then");

	if (!json_is_object(controller) || strcmp(then, "keep") == 0)
		return;
	gs_ctl_printf("controller away for %lld s; after %lld s the service's packets are %s\n",
		      gs_ctl_number(controller, "away_s"), gs_ctl_number(controller, "after_s"),
		      strcmp(then, "pass") == 0 ? "passed to the kernel" : "dropped");
}

static void print_forward(const json_t *json)
{
	const json_t *forward = json_object_get(json, "forward"), *tag;
	const json_t *leaves = json_object_get(json, "leaves");
	char from[GS_ADDR_TEXT_MAX + 16], to[GS_ADDR_TEXT_MAX + 16];
	size_t i;

	if (!json_is_object(forward))
		return;
	gs_ctl_printf("forward    %s", gs_ctl_text(forward, "mode"));
	if (json_object_get(forward, "from"))
		gs_ctl_printf(", %s -> %s", end_text(forward, "from", "from_port", from),
			      end_text(forward, "to", "to_port", to));
	gs_ctl_printf("\nnext hop   %s -> %s", gs_ctl_text(forward, "src_mac"),
		      gs_ctl_text(forward, "dst_mac"));
	json_array_foreach (json_object_get(forward, "vlan"), i, tag)
		gs_ctl_printf(", VLAN %lld", json_integer_value(tag));
	if (json_is_object(leaves))
		gs_ctl_printf(", %s by %s (%lld)",
			      strcmp(gs_ctl_text(leaves, "by"), "tx") == 0 ? "back out" : "out",
			      gs_ctl_text(leaves, "interface"), gs_ctl_number(leaves, "ifindex"));
	else if (gs_ctl_number(forward, "ifindex"))
		gs_ctl_printf(", out by the edge's interface %lld",
			      gs_ctl_number(forward, "ifindex"));
	if (json_object_get(forward, "mtu"))
		gs_ctl_printf(", MTU %lld", gs_ctl_number(forward, "mtu"));
	if (json_is_true(json_object_get(forward, "by_kernel")))
		fputs(", by the kernel's routes", stdout);
	if (json_is_true(json_object_get(forward, "reflected")))
		fputs(", back to whoever sent it", stdout);
	putchar('\n');
}

static void print_backend(const json_t *json)
{
	const char *backend = gs_ctl_text(json, "backend"), *picked = gs_ctl_text(json, "picked");

	if (*backend)
		gs_ctl_printf("backend    %s in %s\n", backend, gs_ctl_text(json, "region"));
	else if (*picked)
		gs_ctl_printf("backend    %s, but this packet does not get there\n", picked);
}

void gs_ctl_explain_print(const json_t *explained)
{
	const json_t *plan = json_object_get(explained, "plan");
	const json_t *reply = json_object_get(explained, "reply");
	const char *service = gs_ctl_text(explained, "service");

	print_packet(json_object_get(explained, "packet"));
	print_interface(json_object_get(explained, "interface"));
	gs_ctl_printf("program    gs_xdp, tag %s: the attached one's twin\n",
		      gs_ctl_text(explained, "program"));
	if (json_is_object(plan))
		gs_ctl_print_route(plan);
	else if (reply)
		print_reply(reply);
	else
		gs_ctl_printf("service    %s\n", *service ? service : "none");
	print_controller(json_object_get(explained, "controller"));
	print_limits(json_object_get(explained, "limits"));
	if (*service)
		print_flow(explained);
	print_backend(explained);
	print_forward(explained);
	gs_ctl_printf("verdict    %s, %s: %s\n", gs_ctl_text(explained, "verdict"),
		      gs_ctl_text(explained, "reason"), gs_ctl_text(explained, "text"));
}

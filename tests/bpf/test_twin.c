/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attached program's twin (adapters/twin.h) beside the program itself, attached to two links of
 * a network namespace of its own: they decide alike, byte for byte, and the edge's maps do not
 * change by a bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "user/adapters/twin.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIN 0x01
#define SYN 0x02
#define ACK 0x10
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static struct xdp_edge edge;
static char pin_dir[64], object[128];
static struct gs_meta_value first_meta;
static struct gs_twin_result result; /* of the last packet */

/* ---- the edge, pinned and attached ----------------------------------------------------------- */

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void pin(int fd, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", pin_dir, name);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
}

static void attach(const char *interface)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int fd = bpf_link_create(edge.prog_fd, (int)if_nametoindex(interface), BPF_XDP, &opts);
	char name[64];

	assert_true(fd >= 0);
	snprintf(name, sizeof(name), GS_PIN_LINK_PREFIX "%s", interface);
	pin(fd, name);
	close(fd);
}

static int open_edge(void **state)
{
	const char *build = getenv("BUILD");
	struct bpf_map *map;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up; "
	    "ip link add gs-in type veth peer name gs-in-far; ip link set gs-in-far up; "
	    "ip link add gs-out address 02:00:00:00:00:11 type veth peer name gs-out-far; "
	    "ip link add gs-no type veth peer name gs-no-far; ip link set gs-no up; "
	    "ip link set gs-in up; ip link set gs-out up; ip link set gs-out-far up; "
	    "ip addr add 10.9.0.1/24 dev gs-out; "
	    "echo 1 >/proc/sys/net/ipv4/conf/all/forwarding");
	snprintf(object, sizeof(object), "%s/bpf/gs_xdp.bpf.o", build ? build : "build");
	snprintf(pin_dir, sizeof(pin_dir), "/sys/fs/bpf/gs-test-%d", (int)getpid());
	assert_true(mkdir(pin_dir, 0700) == 0 || errno == EEXIST);
	xdp_edge_open(&edge);
	bpf_object__for_each_map(map, edge.object) if (!strchr(bpf_map__name(map), '.'))
		pin(bpf_map__fd(map), bpf_map__name(map));
	pin(edge.prog_fd, GS_PIN_PROG);
	attach("gs-in");
	attach("gs-out");
	first_meta = xdp_edge_meta(&edge);
	return 0;
}

static int close_edge(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", pin_dir);
	run(command);
	run("ip link del gs-in; ip link del gs-out; ip link del gs-no");
	xdp_edge_close(&edge);
	return 0;
}

static void set_hop(uint32_t ifindex, uint32_t mtu)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;

	hop.ifindex = ifindex;
	hop.mtu = mtu;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
}

/* As it was at first, but for NAT's memory and the counters. */
static int reset(void **state)
{
	(void)state;
	xdp_edge_forget(&edge);
	xdp_edge_set_meta(&edge, &first_meta);
	set_hop(0, edge_hop_value().mtu);
	return 0;
}

static struct gs_twin *twin_open(const char *interface)
{
	const struct gs_twin_options options = {
		.pin_dir = pin_dir, .object = object, .interface = interface};
	struct gs_twin *twin;
	struct gs_error error;

	if (gs_twin_open(&options, &twin, &error))
		fail_msg("%s", error.text);
	return twin;
}

static void twin_run(struct gs_twin *twin, const struct packet *packet)
{
	struct gs_error error;

	if (gs_twin_run(twin, packet->bytes, packet->length, &result, &error))
		fail_msg("%s", error.text);
}

static void twin_expect(const char *name, struct gs_twin *twin, const struct packet *packet,
			enum gs_reason want)
{
	twin_run(twin, packet);
	if (strcmp(result.said.reason, edge_reason_name(want)) != 0)
		fail_msg("%s: the twin says %s, wanted %s", name, result.said.reason,
			 edge_reason_name(want));
	packet_case();
}

/* ---- nothing is touched ---------------------------------------------------------------------- */

enum { BATCH = 4096, VALUE_MAX = 512 };

/* Of all there is in every map that packets may write. */
static uint64_t digest(void)
{
	static const char *const maps[] = {
		GS_MAP_META,	      GS_MAP_FLOWS,	   GS_MAP_FRAGMENTS,
		GS_MAP_TRIALS,	      GS_MAP_LIMITS,	   GS_MAP_NAT_FLOWS,
		GS_MAP_NAT_DETAILS,   GS_MAP_HANDSHAKES,   GS_MAP_DEMAND,
		GS_MAP_TUNNEL_TOLD,   GS_MAP_MONITOR,	   GS_MAP_ANSWERS,
		GS_MAP_ASKED,	      GS_MAP_MONITOR_CPU,  GS_MAP_COUNT_REASON,
		GS_MAP_COUNT_SERVICE, GS_MAP_COUNT_REGION, GS_MAP_COUNT_BACKEND,
		GS_MAP_COUNT_SYN,
	};
	static uint64_t values[BATCH * VALUE_MAX / 8];
	static uint32_t keys[BATCH];
	uint64_t sum = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(maps); i++) {
		const struct bpf_map *map = bpf_object__find_map_by_name(edge.object, maps[i]);
		size_t size = (bpf_map__value_size(map) + 7) / 8 * 8;
		uint32_t batch, done = 0;

		if (bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY)
			size *= (size_t)libbpf_num_possible_cpus();
		assert_true(size <= VALUE_MAX);
		while (done < bpf_map__max_entries(map)) {
			uint32_t count = BATCH;

			assert_true(bpf_map_lookup_batch(bpf_map__fd(map), done ? &batch : NULL,
							 &batch, keys, values, &count, NULL) == 0 ||
				    errno == ENOENT);
			for (size_t at = 0; at < count * size / 8; at++)
				if (values[at])
					sum = gs_hash_mix(sum ^ values[at] ^ (done + at) << 40 ^ i);
			done += count;
		}
	}
	return sum;
}

static void set_nat(uint32_t service, uint32_t region, uint16_t port)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(service, region, member);
		struct gs_backend_value value = edge_backend_value(id);

		value.mode = GS_FORWARD_NAT;
		value.port = htons(port);
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
}

static const struct {
	const char *name;
	struct packet_spec spec;
	enum gs_reason reason;
	const char *shape;
} rows[] = {
	{"new", {.flags = SYN}, GS_REASON_tx_new, "whole"},
	{"in the middle", {.flags = ACK, .sport = 7}, GS_REASON_tx_new, "whole"},
	{"its end", {.flags = FIN | ACK, .sport = 8}, GS_REASON_tx_new, "whole"},
	{"by an IPv6 tunnel", {.flags = SYN, .src = "203.0.113.200"}, GS_REASON_tx_new, "whole"},
	{"UDP", {.protocol = IPPROTO_UDP, .dport = 53, .payload = 9}, GS_REASON_tx_new, "whole"},
	{"IPv6", {.family = 6, .flags = SYN}, GS_REASON_tx_new, "whole"},
	{"extensions", {.family = 6, .flags = SYN, .extensions = "hrd"}, GS_REASON_tx_new, "whole"},
	{"NAT", {.flags = SYN, .dst = "198.51.100.11", .dport = 5060}, GS_REASON_tx_new, "whole"},
	{"first fragment",
	 {.protocol = IPPROTO_UDP, .dport = 53, .sport = 9, .payload = 64, .fragment = 0x2000},
	 GS_REASON_tx_new,
	 "first"},
	{"later one alone",
	 {.protocol = IPPROTO_UDP, .src = "192.0.2.8", .dport = 53, .payload = 64, .fragment = 8},
	 GS_REASON_drop_fragment,
	 "later"},
	{"no plan", {.flags = SYN, .dst = "198.51.100.12"}, GS_REASON_drop_no_plan, "whole"},
	{"another port", {.flags = SYN, .dport = 81}, GS_REASON_pass_not_service, "whole"},
	{"another protocol",
	 {.protocol = IPPROTO_UDP, .dport = 80},
	 GS_REASON_pass_not_service,
	 "whole"},
	{"ARP", {.ethertype = 0x0806}, GS_REASON_pass_not_ip, "whole"},
};

/* Name by name: the twin first, which must not have done what the edge then does. */
static void decides_alike_and_leaves_no_trace(void **state)
{
	struct gs_twin *twin;
	(void)state;

	set_nat(SERVICE_ANY, 1, 8080);
	twin = twin_open("gs-in");
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet packet = packet_build(&rows[i].spec), out;
		uint64_t before = digest();
		struct xdp_result real;

		twin_expect(rows[i].name, twin, &packet, rows[i].reason);
		assert_string_equal(result.said.shape, rows[i].shape);
		if (digest() != before)
			fail_msg("%s: the edge's maps have changed", rows[i].name);
		real = xdp_edge_send(&edge, &packet);
		assert_int_equal(real.reason, rows[i].reason);
		assert_int_equal(real.service, result.said.service);
		assert_int_equal(real.backend, result.said.backend);
		assert_int_equal(real.region, result.said.region);
		memcpy(out.bytes, result.bytes, result.length);
		out.length = result.length;
		edge_expect_bytes(rows[i].name, &out, &real.out);
		if (real.backend)
			assert_true(digest() != before);
	}
	gs_twin_close(twin);
}

/* Cut at every byte, behind tags, inside other packets: as the program itself has it. */
static void hostile_bytes(void **state)
{
	static const uint32_t tags[] = {0x88a80064, 0x81000065, 0x81000066};
	const struct packet_outer outer = {.src = "203.0.113.5", .dst = "198.51.100.10"};
	struct packet whole = packet_build(&(struct packet_spec){.flags = SYN});
	struct packet inside[] = {packet_encapsulate(&whole, &outer),
				  packet_gue(&whole, &outer, 50000)};
	struct gs_twin *twin = twin_open(NULL); /* the first */
	struct gs_error error;
	(void)state;

	assert_string_equal(gs_twin_interface(twin)->name, "gs-in");
	for (uint32_t length = 14; length < whole.length; length++) {
		struct packet cut = whole;

		cut.length = length;
		twin_expect("cut", twin, &cut, xdp_edge_send(&edge, &cut).reason);
	}
	for (uint32_t count = 1; count <= ARRAY_SIZE(tags); count++) {
		struct packet tagged = packet_tag(&whole, tags, count);

		twin_expect("tagged", twin, &tagged,
			    count > 2 ? GS_REASON_pass_vlan : GS_REASON_tx_new);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(inside); i++) {
		twin_expect("inside", twin, &inside[i], xdp_edge_send(&edge, &inside[i]).reason);
		for (uint32_t length = 14; length < inside[i].length; length += 3) {
			struct packet cut = inside[i];

			cut.length = length;
			twin_expect("inside, cut", twin, &cut, xdp_edge_send(&edge, &cut).reason);
		}
	}
	whole.bytes[0] = 0xff;
	twin_expect("to all", twin, &whole, GS_REASON_pass_group_mac);
	assert_int_equal(gs_twin_run(twin, whole.bytes, 13, &result, &error), -EINVAL);
	assert_non_null(strstr(error.text, "13 bytes"));
	assert_int_equal(gs_twin_run(twin, whole.bytes, GS_TWIN_FRAME_MAX + 1, &result, &error),
			 -EINVAL);
	gs_twin_close(twin);
}

/* ---- one after the other --------------------------------------------------------------------- */

static void packets_follow_each_other(void **state)
{
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN, .sport = 5});
	struct packet ack = packet_build(&(struct packet_spec){.flags = ACK, .sport = 5});
	struct packet first = packet_build(&(struct packet_spec){
		.protocol = IPPROTO_UDP, .dport = 53, .payload = 64, .fragment = 0x2000});
	struct packet later = packet_build(&(struct packet_spec){
		.protocol = IPPROTO_UDP, .dport = 53, .payload = 64, .fragment = 9});
	struct gs_twin *twin = twin_open(NULL);
	uint64_t before = digest();
	gs_id backend;
	(void)state;

	twin_expect("a SYN", twin, &syn, GS_REASON_tx_new);
	backend = result.said.backend;
	twin_expect("its ACK", twin, &ack, GS_REASON_tx_flow);
	assert_int_equal(result.said.backend, backend);
	twin_expect("alone", twin, &later, GS_REASON_drop_fragment);
	twin_expect("the first", twin, &first, GS_REASON_tx_new);
	backend = result.said.backend;
	twin_expect("now it has its first", twin, &later, GS_REASON_tx_fragment);
	assert_int_equal(result.said.backend, backend);
	assert_int_equal(result.said.dport, 53);
	gs_twin_close(twin);
	/* the edge knows of none of it, nor does the next twin */
	assert_true(digest() == before);
	twin = twin_open(NULL);
	twin_expect("another twin", twin, &ack, GS_REASON_tx_new);
	twin_expect("alone again", twin, &later, GS_REASON_drop_fragment);
	gs_twin_close(twin);
	/* what the edge knows the twin knows */
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_new);
	twin = twin_open(NULL);
	twin_expect("the edge's flow", twin, &ack, GS_REASON_tx_flow);
	gs_twin_close(twin);
}

/* An ICMP error goes where its flow is; of an unknown one, where it would be. Echoes are answered,
 * more of them than the edge would at once. */
static void errors_and_echoes(void **state)
{
	struct packet syn =
		packet_build(&(struct packet_spec){.flags = SYN, .sport = 6, .payload = 100});
	struct packet answer = packet_reverse(&syn), error, echo;
	struct gs_twin *twin = twin_open(NULL);
	gs_id backend;
	(void)state;

	error = packet_icmp(&(struct packet_icmp){.src = "203.0.113.77",
						  .dst = "198.51.100.10",
						  .type = 3,
						  .code = 4,
						  .rest = 1300,
						  .bytes = answer.bytes + PACKET_L3,
						  .length = 28});
	twin_expect("a flow", twin, &syn, GS_REASON_tx_new);
	backend = result.said.backend;
	twin_expect("an error about it", twin, &error, GS_REASON_tx_icmp);
	assert_int_equal(result.said.backend, backend);
	assert_string_equal(result.said.shape, "error");
	assert_int_equal(result.said.sport, 6); /* as its client sends */
	echo = packet_icmp(&(struct packet_icmp){.src = "192.0.2.1",
						 .dst = "198.51.100.10",
						 .type = 8,
						 .bytes = syn.bytes,
						 .length = 9});
	for (unsigned i = 0; i < 3 * GS_ANSWER_BURST; i++)
		twin_expect("a ping", twin, &echo, GS_REASON_tx_echo);
	gs_twin_close(twin);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void set_limits(struct gs_service_value value)
{
	struct gs_service_key key = {.port = htons(80), .protocol = IPPROTO_TCP};

	packet_addr("198.51.100.10", (uint8_t *)key.addr);
	value.service = SERVICE_WEB4;
	value.limit4 = 24;
	value.limit6 = 48;
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &value);
}

static const struct gs_twin_limit *find_limit(const struct gs_twin_limit *limits, int count,
					      const char *of, const char *kind)
{
	for (int i = 0; i < count; i++)
		if (strcmp(limits[i].of, of) == 0 && strcmp(limits[i].kind, kind) == 0)
			return &limits[i];
	fail_msg("no limit of %s, %s", of, kind);
	return NULL;
}

/* Each packet meets the limits as the edge has them, not what the twin's others have used. */
static void limits_are_looked_at(void **state)
{
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN});
	struct gs_twin_limit limits[GS_TWIN_LIMITS_MAX];
	struct gs_twin *twin = twin_open(NULL);
	int count;
	(void)state;

	set_limits((struct gs_service_value){.packets = 4, .client_flows = 2});
	for (int i = 0; i < 20; i++) {
		twin_expect("within", twin, &syn, GS_REASON_tx_new);
		count = gs_twin_limits(twin, 0, limits);
		assert_int_equal(count, 2);
		assert_int_equal(find_limit(limits, count, "service", "packets")->used_percent, 0);
		assert_int_equal(find_limit(limits, count, "service", "packets")->a_second, 4);
		assert_int_equal(find_limit(limits, count, "client", "flows")->used_percent, 0);
	}
	syn = packet_build(&(struct packet_spec){.flags = SYN, .sport = 51000});
	for (uint16_t i = 0; i < 2; i++) {
		struct packet one = packet_build(
			&(struct packet_spec){.flags = SYN, .sport = (uint16_t)(50000 + i)});

		assert_int_equal(xdp_edge_send(&edge, &one).reason, GS_REASON_tx_new);
	}
	twin_expect("the client's flows", twin, &syn, GS_REASON_drop_client_flows);
	count = gs_twin_limits(twin, 0, limits);
	assert_in_range(find_limit(limits, count, "client", "flows")->used_percent, 51, 100);
	assert_in_range(find_limit(limits, count, "service", "packets")->used_percent, 1, 50);
	syn = packet_build(&(struct packet_spec){.flags = SYN, .src = "203.0.113.9"});
	twin_expect("another client", twin, &syn, GS_REASON_tx_new);
	count = gs_twin_limits(twin, 0, limits);
	assert_int_equal(find_limit(limits, count, "client", "flows")->used_percent, 0);
	set_limits((struct gs_service_value){0});
	twin_expect("no limits", twin, &syn, GS_REASON_tx_new);
	assert_int_equal(gs_twin_limits(twin, 0, limits), 0);
	gs_twin_close(twin);
}

static void a_regions_limit(void **state)
{
	const struct gs_region_limit_value limit = {.packets = 100, .flows = 1};
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN});
	struct packet more = packet_build(&(struct packet_spec){.flags = SYN, .sport = 2});
	struct gs_meta_value meta = xdp_edge_meta(&edge);
	struct gs_twin_limit limits[GS_TWIN_LIMITS_MAX];
	struct gs_twin *twin = twin_open(NULL);
	uint32_t region;
	int count;
	(void)state;

	region = xdp_edge_send(&edge, &more).region;
	xdp_edge_set(&edge, GS_MAP_REGION_LIMITS, &region, &limit);
	meta.generation[0].asks |= GS_ASK_REGION_LIMITS;
	xdp_edge_set_meta(&edge, &meta);
	xdp_edge_forget(&edge);
	assert_int_equal(xdp_edge_send(&edge, &more).reason, GS_REASON_tx_new);
	twin_expect("the region's flows", twin, &syn, GS_REASON_drop_region_flows);
	count = gs_twin_limits(twin, (gs_id)region, limits);
	assert_int_equal(count, 2);
	assert_in_range(find_limit(limits, count, "region", "flows")->used_percent, 1, 100);
	assert_int_equal(find_limit(limits, count, "region", "packets")->a_second, 100);
	gs_twin_close(twin);
}

/* ---- a controller that is away --------------------------------------------------------------- */

static void a_controller_that_is_away(void **state)
{
	struct gs_meta_value meta = xdp_edge_meta(&edge);
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN});
	struct gs_twin *twin = twin_open(NULL);
	struct gs_twin_stale stale;
	struct timespec now;
	(void)state;

	clock_gettime(CLOCK_MONOTONIC, &now);
	meta.heartbeat_ns = ((uint64_t)now.tv_sec - 5) * 1000000000u;
	xdp_edge_set_meta(&edge, &meta);
	set_limits((struct gs_service_value){.stale = GS_STALE_DROP, .stale_after_s = 1000});
	twin_expect("not yet", twin, &syn, GS_REASON_tx_new);
	assert_true(gs_twin_stale(twin, &stale));
	assert_in_range(stale.away_s, 4, 60);
	assert_string_equal(stale.then, "drop");
	assert_int_equal(stale.after_s, 1000);
	set_limits((struct gs_service_value){.stale = GS_STALE_DROP, .stale_after_s = 2});
	twin_expect("too long", twin, &syn, GS_REASON_drop_stale);
	assert_true(gs_twin_stale(twin, &stale));
	meta.heartbeat_ns = (uint64_t)now.tv_sec * 1000000000u;
	xdp_edge_set_meta(&edge, &meta); /* it turns: the twin sees that, too */
	set_limits((struct gs_service_value){.stale = GS_STALE_DROP, .stale_after_s = 1000});
	twin_expect("back", twin, &syn, GS_REASON_tx_new);
	syn = packet_build(&(struct packet_spec){.flags = SYN, .dport = 81});
	twin_expect("no service", twin, &syn, GS_REASON_pass_not_service);
	assert_false(gs_twin_stale(twin, &stale));
	gs_twin_close(twin);
}

/* ---- NAT ------------------------------------------------------------------------------------- */

static void replies_from_nat(void **state)
{
	static const struct packet_spec clients[] = {
		{.flags = SYN, .sport = 4321},
		{.family = 6, .flags = SYN, .src = "2001:db8:3::9", .sport = 4322},
	};
	static const char *const sources[] = {"192.0.2.254", "2001:db8:e::1"};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		uint32_t service = i ? SERVICE_WEB6 : SERVICE_WEB4, region = i ? 3 : 1;
		struct packet syn = packet_build(&clients[i]), packet;
		struct gs_twin_reply reply;
		struct packet_spec back;
		struct xdp_result real;
		struct gs_twin *twin;
		uint8_t addr[16];
		char backend[64];
		uint64_t before;

		set_nat(service, region, 8080);
		real = xdp_edge_send(&edge, &syn);
		assert_int_equal(real.reason, GS_REASON_tx_new);
		back = (struct packet_spec){
			.family = clients[i].family,
			.src = edge_backend_addr(real.backend, backend),
			.dst = sources[i],
			.sport = 8080,
			.dport = packet_get16(real.out.bytes + syn.l4),
			.flags = SYN | ACK,
			.payload = 30,
		};
		packet = packet_build(&back);
		before = digest();
		twin = twin_open("gs-in");
		twin_expect("a reply", twin, &packet, GS_REASON_tx_nat_reply);
		assert_true(gs_twin_reply(twin, &reply));
		packet_addr(i ? "2001:db8:3::9" : "192.0.2.1", addr);
		assert_memory_equal(reply.client.bytes, addr, 16);
		packet_addr(i ? "2001:db8:100::10" : "198.51.100.10", addr);
		assert_memory_equal(reply.vip.bytes, addr, 16);
		assert_int_equal(reply.client_port, clients[i].sport);
		assert_int_equal(reply.vip_port, 80);
		assert_int_equal(reply.port, back.dport);
		assert_int_equal(reply.backend, real.backend);
		assert_int_equal(reply.service, service);
		assert_int_equal(reply.region, region);
		assert_int_equal(packet_get16(result.bytes + packet.l4 + 2), clients[i].sport);
		assert_true(digest() == before);

		/* an error about what the client has sent on: of the same flow */
		packet = packet_icmp(&(struct packet_icmp){.src = i ? "2001:db8:9::1" : "10.9.9.9",
							   .dst = sources[i],
							   .type = i ? 1 : 3,
							   .bytes = real.out.bytes + PACKET_L3,
							   .length = i ? 60 : 40});
		twin_expect("an error", twin, &packet, GS_REASON_tx_nat_reply);
		assert_true(gs_twin_reply(twin, &reply));
		assert_int_equal(reply.client_port, clients[i].sport);

		/* whose port is another's, who says it from elsewhere: nobody's */
		back.dport++;
		packet = packet_build(&back);
		twin_expect("another port", twin, &packet, GS_REASON_pass_not_service);
		assert_false(gs_twin_reply(twin, &reply));
		back.dport--;
		back.sport++;
		packet = packet_build(&back);
		twin_expect("from another", twin, &packet, GS_REASON_pass_not_service);
		assert_false(gs_twin_reply(twin, &reply));
		twin_expect("a client", twin, &syn, GS_REASON_tx_new);
		assert_false(gs_twin_reply(twin, &reply));
		assert_true(digest() == before);
		gs_twin_close(twin);
	}
}

/* ---- where it comes in, and by what it leaves ------------------------------------------------ */

static void the_interface_counts(void **state)
{
	const uint32_t in = if_nametoindex("gs-in"), out = if_nametoindex("gs-out");
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN});
	struct gs_twin *twin = twin_open("gs-in");
	struct gs_twin_backend backend;
	(void)state;

	assert_int_equal(gs_twin_interface(twin)->ifindex, in);
	assert_int_equal(gs_twin_interface(twin)->attached, 2); /* gs-no has not the program */
	assert_string_equal(gs_twin_interface(twin)->name, "gs-in");
	twin_expect("as it came", twin, &syn, GS_REASON_tx_new);
	assert_int_equal(result.said.in_ifindex, in);
	assert_int_equal(result.said.out_ifindex, in);
	assert_false(result.is_redirected);
	set_hop(out, 1500);
	twin_expect("by another", twin, &syn, GS_REASON_tx_new);
	assert_int_equal(result.said.out_ifindex, out);
	assert_true(result.is_redirected);
	assert_int_equal(gs_twin_backend(twin, result.said.backend, &backend), 0);
	assert_int_equal(backend.ifindex, out);
	assert_false(backend.is_asked);
	gs_twin_close(twin);
	twin = twin_open("gs-out");
	twin_expect("as it came, there", twin, &syn, GS_REASON_tx_new);
	assert_int_equal(result.said.in_ifindex, out);
	assert_false(result.is_redirected);
	gs_twin_close(twin);
}

/* The kernel is asked for the interface that packets come in by. */
static void the_kernels_routes_are_that_interfaces(void **state)
{
	const uint32_t out = if_nametoindex("gs-out");
	const struct gs_link_value link = {.ifindex = out};
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN});
	struct gs_twin *twin = twin_open("gs-in");
	struct gs_twin_backend backend;
	(void)state;

	set_hop(0, 0);
	xdp_edge_set(&edge, GS_MAP_LINKS, &out, &link);
	twin_expect("no route", twin, &syn, GS_REASON_drop_no_route);
	assert_true(gs_twin_picked(twin) != 0);
	run("ip route add default via 10.9.0.2 dev gs-out; "
	    "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:99 dev gs-out nud permanent");
	twin_expect("a route", twin, &syn, GS_REASON_tx_fib);
	assert_int_equal(gs_twin_picked(twin), 0); /* it gets there */
	assert_true(result.is_redirected);
	assert_int_equal(gs_twin_backend(twin, result.said.backend, &backend), 0);
	assert_true(backend.is_asked);
	assert_int_equal(backend.ifindex, out);
	assert_int_equal(backend.mtu, 1500);
	run("echo 0 >/proc/sys/net/ipv4/conf/gs-in/forwarding");
	twin_expect("it does not forward", twin, &syn, GS_REASON_drop_no_hop);
	gs_twin_close(twin);
	twin = twin_open("gs-out");
	twin_expect("the other one does", twin, &syn, GS_REASON_tx_fib);
	assert_false(result.is_redirected);
	gs_twin_close(twin);
}

static void refused(void **state)
{
	static const struct {
		const char *interface, *text;
	} cases[] = {
		{"gs-no", "gs-no: this interface does not carry the program"},
		{"gs-never", "gs-never: there is no such interface"},
		{"", ": there is no such interface"},
	};
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN});
	struct gs_twin *twin;
	struct gs_error error;
	int home;
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct gs_twin_options options = {
			.pin_dir = pin_dir, .object = object, .interface = cases[i].interface};

		assert_int_equal(gs_twin_open(&options, &twin, &error), -ENODEV);
		assert_non_null(strstr(error.text, cases[i].text));
	}
	/* where no interface carries it, packets are decided all the same */
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(home >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	twin = twin_open(NULL);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
	assert_int_equal(gs_twin_interface(twin)->ifindex, 0);
	twin_expect("elsewhere", twin, &syn, GS_REASON_tx_new);
	gs_twin_close(twin);
}

/* ---- another program ------------------------------------------------------------------------- */

/* The object with one constant of its code changed: how often it tells of UDP clients. */
static void build_another(const char *path)
{
	static uint8_t bytes[1 << 20];
	static const uint8_t was[] = {0x40, 0x42, 0x0f, 0x00}; /* GS_ANSWER_CLIENT_INTERVAL_NS */
	FILE *file = fopen(object, "rb");
	size_t length, changed = 0;

	_Static_assert(GS_ANSWER_CLIENT_INTERVAL_NS == 0x0f4240, "the bytes above");
	assert_non_null(file);
	length = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	assert_true(length < sizeof(bytes));
	for (size_t at = 0; at + sizeof(was) <= length; at += 4)
		if (memcmp(bytes + at, was, sizeof(was)) == 0) {
			bytes[at] ^= 1;
			changed++;
		}
	assert_true(changed > 0);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static void another_program_is_no_twin(void **state)
{
	char path[64], decap[128], text[128];
	struct gs_twin_options options = {.pin_dir = pin_dir, .object = path};
	struct gs_error error;
	struct gs_twin *twin;
	(void)state;

	snprintf(path, sizeof(path), "/tmp/gs-test-%d.bpf.o", (int)getpid());
	build_another(path);
	assert_int_equal(gs_twin_open(&options, &twin, &error), -ESTALE);
	unlink(path);
	assert_non_null(strstr(error.text, "is of another build"));
	twin = twin_open(NULL);
	snprintf(text, sizeof(text), "the attached program (tag %s)", gs_twin_tag(twin));
	assert_non_null(strstr(error.text, text));
	gs_twin_close(twin);
	snprintf(decap, sizeof(decap), "%.*sgs_decap.bpf.o",
		 (int)(strrchr(object, '/') - object) + 1, object);
	options.object = decap;
	assert_int_equal(gs_twin_open(&options, &twin, &error), -ESTALE);
	options.object = "/nowhere.o";
	assert_int_equal(gs_twin_open(&options, &twin, &error), -ENOENT);
	options.object = object;
	options.pin_dir = "/sys/fs/bpf/gs-nothing-here";
	assert_int_equal(gs_twin_open(&options, &twin, &error), -ENOENT);
}

#define TWIN_TEST(test) cmocka_unit_test_setup(test, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TWIN_TEST(decides_alike_and_leaves_no_trace),
		TWIN_TEST(hostile_bytes),
		TWIN_TEST(packets_follow_each_other),
		TWIN_TEST(errors_and_echoes),
		TWIN_TEST(limits_are_looked_at),
		TWIN_TEST(a_regions_limit),
		TWIN_TEST(a_controller_that_is_away),
		TWIN_TEST(replies_from_nat),
		TWIN_TEST(the_interface_counts),
		TWIN_TEST(the_kernels_routes_are_that_interfaces),
		TWIN_TEST(another_program_is_no_twin),
		TWIN_TEST(refused),
	};

	return cmocka_run_group_tests_name("twin", tests, open_edge, close_edge);
}

// SPDX-License-Identifier: Apache-2.0
/*
 * explain: one described packet, or those of a capture, through the attached program's twin; with
 * it what the daemon says of the client, so that the decision can be followed step by step.
 */
#include "user/ctl/ctl_explain.h"
#include "user/adapters/twin.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/frame.h"
#include "user/ctl/ctl_ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBJECT_FILE "gs_xdp.bpf.o"

enum {
	TCP_SYN = 0x02,
	TCP_ACK = 0x10,
	SPORT_DEFAULT = 40000,
	CAPTURE_PACKETS_MAX = 1000,
	PCAP_HEADER = 24,
	PCAP_RECORD = 16,
	PCAP_ETHERNET = 1,
};

struct question {
	struct gs_frame_spec spec;
	const char *src, *dst, *pcap, *object;
	bool has_dport;
};

/* ---- arguments ------------------------------------------------------------------------------- */

static int take_port(const char *option, const char *text, uint16_t *ret_port)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port < 1 || port > UINT16_MAX)
		return gs_ctl_usage("explain", "", "%s: \"%s\" is no port", option, text);
	*ret_port = (uint16_t)port;
	return GS_CTL_DONE;
}

static int take_address(const char *option, const char *text, struct gs_addr *ret_addr)
{
	if (gs_addr_parse(text, ret_addr))
		return gs_ctl_usage("explain", "", "%s: \"%s\" is no IPv4 or IPv6 address", option,
				    text);
	return GS_CTL_DONE;
}

static int take_protocol(const char *text, struct gs_frame_spec *spec)
{
	if (strcmp(text, "udp") == 0) {
		spec->protocol = GS_PROTOCOL_UDP;
		spec->tcp_flags = 0;
	} else if (strcmp(text, "tcp") != 0) {
		return gs_ctl_usage("explain", "", "--proto: \"%s\" is neither tcp nor udp", text);
	}
	return GS_CTL_DONE;
}

static int take_option(struct question *q, const char *option, const char *value)
{
	static const char *const options[] = {"--src",	 "--dst", "--proto", "--sport",
					      "--dport", "--ack", "--pcap",  "--object"};

	if (strcmp(option, "--src") == 0) {
		q->src = value;
		return take_address(option, value, &q->spec.src);
	}
	if (strcmp(option, "--dst") == 0) {
		q->dst = value;
		return take_address(option, value, &q->spec.dst);
	}
	if (strcmp(option, "--proto") == 0)
		return take_protocol(value, &q->spec);
	if (strcmp(option, "--sport") == 0)
		return take_port(option, value, &q->spec.sport);
	if (strcmp(option, "--dport") == 0) {
		q->has_dport = true;
		return take_port(option, value, &q->spec.dport);
	}
	if (strcmp(option, "--pcap") == 0) {
		q->pcap = value;
		return GS_CTL_DONE;
	}
	if (strcmp(option, "--object") == 0) {
		q->object = value;
		return GS_CTL_DONE;
	}
	return gs_ctl_unexpected("explain", "", option, options, ARRAY_SIZE(options));
}

static int take_arguments(struct question *q, int argc, char **argv)
{
	*q = (struct question){.spec = {.protocol = GS_PROTOCOL_TCP,
					.sport = SPORT_DEFAULT,
					.tcp_flags = TCP_SYN}};
	for (int i = 0; i < argc; i++) {
		int result;

		if (strcmp(argv[i], "--ack") == 0) { /* in the middle of a connection */
			q->spec.tcp_flags = TCP_ACK;
			continue;
		}
		if (i + 1 == argc && argv[i][0] == '-' && argv[i][1] == '-')
			return gs_ctl_usage("explain", "", "%s: a value expected", argv[i]);
		result = take_option(q, argv[i], i + 1 < argc ? argv[i + 1] : "");
		if (result)
			return result;
		i++;
	}
	if (q->spec.protocol == GS_PROTOCOL_UDP)
		q->spec.tcp_flags = 0;
	if (!q->pcap && (!q->src || !q->dst || !q->has_dport))
		return gs_ctl_usage("explain", "", "--src, --dst and --dport expected, or --pcap");
	return GS_CTL_DONE;
}

/* The object beside this program (a build), or where it is installed. */
static int find_object(const struct question *q, char out[PATH_MAX])
{
	static const char installed[] = GS_PREFIX "/lib/geostream/bpf/" OBJECT_FILE;
	char self[PATH_MAX - sizeof("/bpf/" OBJECT_FILE)];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (q->object) {
		snprintf(out, PATH_MAX, "%s", q->object);
		return GS_CTL_DONE;
	}
	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	snprintf(out, PATH_MAX, "%s/bpf/" OBJECT_FILE, self);
	if (access(out, F_OK) != 0)
		snprintf(out, PATH_MAX, "%s", installed);
	return GS_CTL_DONE;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Of a list of the daemon's status the object with this id; NULL: none. */
static const json_t *object_of(const json_t *status, const char *list, gs_id id)
{
	const json_t *object;
	size_t i;

	json_array_foreach (json_object_get(status, list), i, object)
		if (gs_ctl_number(object, "id") == id)
			return object;
	return NULL;
}

static void set_name(json_t *json, const char *key, const json_t *status, const char *list,
		     gs_id id)
{
	const json_t *object = id ? object_of(status, list, id) : NULL;

	if (object)
		json_object_set(json, key, json_object_get(object, "name"));
	else
		json_object_set_new(json, key, id ? json_sprintf("id %u", id) : json_null());
}

/* ---- what came out --------------------------------------------------------------------------- */

static void mac_text(const uint8_t *mac, char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
}

/* Source and destination of the outermost IP header. */
static void add_addresses(json_t *json, const uint8_t *ip, uint32_t length)
{
	bool is_v4 = length >= 20 && ip[0] >> 4 == 4, is_v6 = length >= 40 && ip[0] >> 4 == 6;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	if (!is_v4 && !is_v6)
		return;
	inet_ntop(is_v4 ? AF_INET : AF_INET6, ip + (is_v4 ? 12 : 8), src, sizeof(src));
	inet_ntop(is_v4 ? AF_INET : AF_INET6, ip + (is_v4 ? 16 : 24), dst, sizeof(dst));
	json_object_set_new(json, "from", json_string(src));
	json_object_set_new(json, "to", json_string(dst));
}

/* Behind extension headers they are not looked for. */
static void add_ports(json_t *json, const uint8_t *ip, uint32_t length)
{
	uint32_t at = ip[0] >> 4 == 4 ? (ip[0] & 15u) * 4 : 40;

	if (length < at + 4 || (ip[0] >> 4 == 6 && ip[6] != IPPROTO_TCP && ip[6] != IPPROTO_UDP))
		return;
	json_object_set_new(json, "from_port", json_integer(ip[at] << 8 | ip[at + 1]));
	json_object_set_new(json, "to_port", json_integer(ip[at + 2] << 8 | ip[at + 3]));
}

static json_t *forward_json(const struct gs_twin *twin, const struct gs_twin_result *result)
{
	struct gs_twin_backend backend;
	char src[18], dst[18];
	json_t *json;

	if (!result->backend || gs_twin_backend(twin, result->backend, &backend))
		return json_null();
	mac_text(result->bytes, dst);
	mac_text(result->bytes + 6, src);
	json = json_pack("{s:s, s:s, s:s, s:i, s:b}", "mode", backend.mode, "src_mac", src,
			 "dst_mac", dst, "mtu", (int)backend.mtu, "reflected", backend.reflect);
	/* A number: names are the edge's namespace's, which need not be ours. 0: as it came. */
	json_object_set_new(json, "ifindex", json_integer(backend.ifindex));
	add_addresses(json, result->bytes + 14, result->length - 14);
	if (strcmp(backend.mode, "nat") == 0)
		add_ports(json, result->bytes + 14, result->length - 14);
	return json;
}

/* The daemon's own account of the client's location and plan; NULL: it is away, or no service. */
static json_t *plan_json(const struct gs_ctl *ctl, const json_t *service, const char *client)
{
	if (!json_is_string(service) || !client)
		return NULL;
	return gs_ctl_ask(ctl,
			  json_pack("{s:s, s:s, s:O}", "command", "route.get", "address", client,
				    "service", service),
			  GS_CTL_ASK_MS);
}

static json_t *result_json(const struct gs_ctl *ctl, const struct gs_twin *twin,
			   const json_t *status, const struct gs_twin_result *result,
			   const char *client)
{
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:s}", "verdict", result->verdict, "reason",
			  result->reason, "text", result->text, "program", gs_twin_tag(twin));
	json_t *plan;

	if (!json)
		return NULL;
	set_name(json, "service", status, "services", result->service);
	set_name(json, "region", status, "regions", result->region);
	set_name(json, "backend", status, "backends", result->backend);
	json_object_set_new(json, "known_flow",
			    json_boolean(strcmp(result->reason, "tx_flow") == 0));
	json_object_set_new(json, "forward", forward_json(twin, result));
	plan = status ? plan_json(ctl, json_object_get(json, "service"), client) : NULL;
	if (plan)
		json_object_set_new(json, "plan", plan);
	return json;
}

static void print_forward(const json_t *forward)
{
	if (!json_is_object(forward))
		return;
	if (json_object_get(forward, "to_port"))
		gs_ctl_printf("forward    %s, %s port %lld -> %s port %lld\n",
			      gs_ctl_text(forward, "mode"), gs_ctl_text(forward, "from"),
			      gs_ctl_number(forward, "from_port"), gs_ctl_text(forward, "to"),
			      gs_ctl_number(forward, "to_port"));
	else
		gs_ctl_printf("forward    %s, %s -> %s\n", gs_ctl_text(forward, "mode"),
			      gs_ctl_text(forward, "from"), gs_ctl_text(forward, "to"));
	gs_ctl_printf("next hop   %s -> %s, interface %lld, MTU %lld%s\n",
		      gs_ctl_text(forward, "src_mac"), gs_ctl_text(forward, "dst_mac"),
		      gs_ctl_number(forward, "ifindex"), gs_ctl_number(forward, "mtu"),
		      json_is_true(json_object_get(forward, "reflected"))
			      ? ", back to whoever sent it"
			      : "");
}

static void print_result(const json_t *json)
{
	const json_t *plan = json_object_get(json, "plan");
	const char *service = gs_ctl_text(json, "service");

	if (json_is_object(plan)) {
		gs_ctl_print_route(plan);
		puts("");
	} else {
		gs_ctl_printf("service    %s\n", *service ? service : "none");
	}
	gs_ctl_printf("program    gs_xdp, tag %s: the attached one's twin\n",
		      gs_ctl_text(json, "program"));
	if (*service)
		puts(json_is_true(json_object_get(json, "known_flow"))
			     ? "flow       known: it stays where it is"
			     : "flow       not known, or not kept: decided now");
	if (*gs_ctl_text(json, "backend"))
		gs_ctl_printf("backend    %s in %s\n", gs_ctl_text(json, "backend"),
			      gs_ctl_text(json, "region"));
	print_forward(json_object_get(json, "forward"));
	gs_ctl_printf("verdict    %s, %s: %s\n", gs_ctl_text(json, "verdict"),
		      gs_ctl_text(json, "reason"), gs_ctl_text(json, "text"));
}

json_t *gs_ctl_explain(const struct gs_ctl *ctl, const struct gs_frame_spec *spec)
{
	GS_AUTO_FREE struct gs_twin_result *result = malloc(sizeof(*result));
	const struct question q = {.spec = *spec};
	GS_AUTO_JSON json_t *status = NULL;
	char object[PATH_MAX], client[GS_ADDR_TEXT_MAX];
	struct gs_twin *twin = NULL;
	uint8_t frame[GS_FRAME_MAX];
	struct gs_error error;
	json_t *json = NULL;
	int length = gs_frame_build(spec, frame);

	find_object(&q, object);
	if (!result || length < 0 || gs_twin_open(ctl->pin_dir, object, &twin, &error)) {
		gs_ctl_fail("%s", result && length >= 0 ? error.text : "no such packet");
		return NULL;
	}
	status = gs_ctl_ask(ctl, json_pack("{s:s}", "command", "status"), GS_CTL_ASK_MS);
	if (gs_twin_run(twin, frame, (uint32_t)length, result, &error))
		gs_ctl_fail("%s", error.text);
	else
		json = result_json(ctl, twin, status, result, gs_addr_format(&spec->src, client));
	gs_twin_close(twin);
	return json;
}

static int explain_frame(const struct gs_ctl *ctl, struct gs_twin *twin, const json_t *status,
			 const uint8_t *frame, uint32_t length, const char *client)
{
	GS_AUTO_FREE struct gs_twin_result *result = malloc(sizeof(*result));
	GS_AUTO_JSON json_t *json = NULL;
	struct gs_error error;

	if (!result)
		return gs_ctl_fail("out of memory");
	if (gs_twin_run(twin, frame, length, result, &error))
		return gs_ctl_fail("%s", error.text);
	json = result_json(ctl, twin, status, result, client);
	if (!json)
		return gs_ctl_fail("out of memory");
	if (ctl->json)
		return gs_ctl_print(json);
	print_result(json);
	return GS_CTL_DONE;
}

/* ---- a capture ------------------------------------------------------------------------------- */

struct capture {
	FILE *file;
	bool swapped;
};

static uint32_t capture_u32(const struct capture *capture, const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return capture->swapped ? __builtin_bswap32(value) : value;
}

/* The classic format, of either byte order, in micro- or nanoseconds; Ethernet. */
static int open_capture(const char *path, struct capture *ret_capture)
{
	uint8_t head[PCAP_HEADER];
	uint32_t magic;

	ret_capture->file = fopen(path, "rb");
	if (!ret_capture->file)
		return gs_ctl_fail("--pcap: %s: %s", path, strerror(errno));
	if (fread(head, sizeof(head), 1, ret_capture->file) != 1)
		return gs_ctl_fail("--pcap: %s: no capture: shorter than its header", path);
	memcpy(&magic, head, sizeof(magic));
	ret_capture->swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
	if (!ret_capture->swapped && magic != 0xa1b2c3d4 && magic != 0xa1b23c4d)
		return gs_ctl_fail("--pcap: %s: no capture of tcpdump's classic format (pcapng? "
				   "editcap -F pcap makes one of it)",
				   path);
	if (capture_u32(ret_capture, head + 20) != PCAP_ETHERNET)
		return gs_ctl_fail("--pcap: %s: its frames are not Ethernet's", path);
	return GS_CTL_DONE;
}

/* Source address of the frame, for the daemon; NULL: none. */
static const char *client_of(const uint8_t *frame, uint32_t length, char out[INET6_ADDRSTRLEN])
{
	if (length >= 34 && frame[12] == 0x08 && frame[13] == 0x00)
		return inet_ntop(AF_INET, frame + 26, out, INET6_ADDRSTRLEN);
	if (length >= 54 && frame[12] == 0x86 && frame[13] == 0xdd)
		return inet_ntop(AF_INET6, frame + 22, out, INET6_ADDRSTRLEN);
	return NULL;
}

static int explain_capture(const struct gs_ctl *ctl, struct gs_twin *twin, const json_t *status,
			   const struct capture *capture, const char *path)
{
	uint8_t record[PCAP_RECORD], frame[GS_TWIN_BYTES_MAX];
	char client[INET6_ADDRSTRLEN];
	int result = GS_CTL_DONE, number = 0;

	while (result == GS_CTL_DONE && fread(record, sizeof(record), 1, capture->file) == 1) {
		uint32_t length = capture_u32(capture, record + 8);

		number++;
		if (number > CAPTURE_PACKETS_MAX)
			return gs_ctl_fail("--pcap: %s: more than %d packets", path,
					   CAPTURE_PACKETS_MAX);
		if (length > sizeof(frame) || fread(frame, 1, length, capture->file) != length)
			return gs_ctl_fail("--pcap: %s: packet %d: %u bytes, more than there are "
					   "or can be tried",
					   path, number, length);
		if (!ctl->json)
			printf("%spacket     %d\n", number > 1 ? "\n" : "", number);
		result = explain_frame(ctl, twin, status, frame, length,
				       client_of(frame, length, client));
	}
	return number > 0 ? result : gs_ctl_fail("--pcap: %s: no packets in it", path);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int explain_spec(const struct gs_ctl *ctl, struct gs_twin *twin, const json_t *status,
			const struct question *q)
{
	uint8_t frame[GS_FRAME_MAX];
	int length = gs_frame_build(&q->spec, frame);

	if (length < 0)
		return gs_ctl_usage("explain", "", "--src and --dst are of two IP versions");
	return explain_frame(ctl, twin, status, frame, (uint32_t)length, q->src);
}

static int explain(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_JSON json_t *status = NULL;
	struct capture capture = {.file = NULL};
	struct gs_twin *twin = NULL;
	char object[PATH_MAX];
	struct gs_error error;
	struct question q;
	int result = take_arguments(&q, argc, argv);

	if (result == GS_CTL_DONE)
		result = find_object(&q, object);
	if (result == GS_CTL_DONE && q.pcap)
		result = open_capture(q.pcap, &capture);
	if (result == GS_CTL_DONE && gs_twin_open(ctl->pin_dir, object, &twin, &error))
		result = gs_ctl_fail("%s", error.text);
	if (result == GS_CTL_DONE) {
		/* Without the daemon packets are decided all the same; only names are missing. */
		status = gs_ctl_ask(ctl, json_pack("{s:s}", "command", "status"), GS_CTL_ASK_MS);
		result = q.pcap ? explain_capture(ctl, twin, status, &capture, q.pcap)
				: explain_spec(ctl, twin, status, &q);
	}
	if (capture.file)
		fclose(capture.file);
	gs_twin_close(twin);
	return result;
}

const struct gs_ctl_command gs_ctl_explain_commands[] = {
	{"explain", "",
	 "--src ADDRESS --dst ADDRESS [--proto tcp|udp] [--sport N] --dport N [--ack] | --pcap FILE",
	 "what the attached program does with a packet, step by step (root)", explain},
	{NULL, NULL, NULL, NULL, NULL},
};

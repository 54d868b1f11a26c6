// SPDX-License-Identifier: Apache-2.0
/*
 * explain: one described packet, or those of a capture, through the attached program's twin; with
 * it what the daemon says of the client, so that the decision can be followed step by step.
 */
#include "user/ctl/ctl_explain.h"
#include "user/adapters/twin.h"
#include "user/base/cleanup.h"
#include "user/base/installed.h"
#include "user/core/cidr.h"
#include "user/core/frame.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_capture.h"
#include "user/ctl/ctl_explain_say.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_FILE "gs_xdp.bpf.o"

enum {
	TCP_SYN = 0x02,
	TCP_ACK = 0x10,
	SPORT_DEFAULT = 40000,
};

struct question {
	struct gs_frame_spec spec;
	const char *src, *dst, *pcap, *object, *interface;
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
	static const char *const options[] = {"--src", "--dst",	 "--proto",  "--sport", "--dport",
					      "--ack", "--pcap", "--object", "--iface"};

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
	if (strcmp(option, "--iface") == 0) {
		q->interface = value;
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
	if (!q->pcap && gs_addr_is_v4(&q->spec.src) != gs_addr_is_v4(&q->spec.dst))
		return gs_ctl_usage("explain", "", "--src and --dst are of two IP versions");
	return GS_CTL_DONE;
}

static void find_object(const struct question *q, char out[PATH_MAX])
{
	if (q->object)
		snprintf(out, PATH_MAX, "%s", q->object);
	else
		gs_installed_bpf(OBJECT_FILE, out);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int say(const struct gs_ctl *ctl, const json_t *explained)
{
	if (ctl->json)
		return gs_ctl_print(explained);
	gs_ctl_explain_print(explained);
	return GS_CTL_DONE;
}

json_t *gs_ctl_explain(const struct gs_ctl *ctl, const struct gs_frame_spec *spec)
{
	GS_CLEANUP(gs_ctl_explainer_done) struct gs_ctl_explainer explainer = {0};
	const struct question q = {.spec = *spec};
	uint8_t frame[GS_FRAME_MAX];
	char object[PATH_MAX];
	int length = gs_frame_build(spec, frame);

	find_object(&q, object);
	if (length < 0) {
		gs_ctl_fail("no such packet");
		return NULL;
	}
	if (gs_ctl_explainer_open(ctl, object, NULL, &explainer))
		return NULL;
	return gs_ctl_explain_frame(&explainer, frame, (uint32_t)length);
}

static int explain_spec(struct gs_ctl_explainer *explainer, const struct question *q)
{
	uint8_t frame[GS_FRAME_MAX];
	GS_AUTO_JSON json_t *json = NULL;
	int length = gs_frame_build(&q->spec, frame);

	if (length < 0)
		return gs_ctl_fail("no such packet");
	json = gs_ctl_explain_frame(explainer, frame, (uint32_t)length);
	return json ? say(explainer->ctl, json) : GS_CTL_FAILED;
}

/* Bytes that were not captured are the packet's payload, as a rule, which nobody looks at. */
static int explain_capture(struct gs_ctl_explainer *explainer, const struct gs_ctl_capture *capture)
{
	bool is_json = explainer->ctl->json;
	int result = GS_CTL_DONE;

	for (uint32_t i = 0; i < capture->count && result == GS_CTL_DONE; i++) {
		const struct gs_ctl_frame *frame = &capture->frames[i];
		GS_AUTO_JSON json_t *json =
			gs_ctl_explain_frame(explainer, frame->bytes, frame->length);

		if (!json)
			return GS_CTL_FAILED;
		json_object_set_new(json, "number", json_integer(i + 1));
		json_object_set_new(json, "captured", json_integer(frame->captured));
		if (!is_json)
			printf("%snumber     %u\n", i > 0 ? "\n" : "", i + 1);
		if (!is_json && frame->captured < frame->length)
			printf("captured   %u bytes of it: the rest is taken to be zeroes\n",
			       frame->captured);
		result = say(explainer->ctl, json);
	}
	return result;
}

static int explain(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_CLEANUP(gs_ctl_explainer_done) struct gs_ctl_explainer explainer = {0};
	GS_CLEANUP(gs_ctl_capture_done) struct gs_ctl_capture capture = {0};
	char object[PATH_MAX];
	struct question q;
	int result = take_arguments(&q, argc, argv);

	if (result == GS_CTL_DONE && q.pcap)
		result =
			gs_ctl_capture_read(q.pcap, GS_TWIN_FRAME_MIN, GS_TWIN_FRAME_MAX, &capture);
	if (result == GS_CTL_DONE) {
		find_object(&q, object);
		result = gs_ctl_explainer_open(ctl, object, q.interface, &explainer);
	}
	if (result)
		return result;
	return q.pcap ? explain_capture(&explainer, &capture) : explain_spec(&explainer, &q);
}

const struct gs_ctl_command gs_ctl_explain_commands[] = {
	{"explain", "",
	 "--src ADDRESS --dst ADDRESS [--proto tcp|udp] [--sport N] --dport N [--ack] | --pcap FILE "
	 "[--iface NAME] [--object FILE]",
	 "what the attached program does with a packet, step by step (root)", explain},
	{NULL, NULL, NULL, NULL, NULL},
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_grpc.h"

#include "user/core/cidr.h"
#include "user/core/probe_spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FRAME_HEAD = 5, /* compressed? and 4 bytes of length */
	REQUEST_MAX = FRAME_HEAD + 3 + 256,
	ANSWER_MAX = 256, /* a HealthCheckResponse has two bytes; who knows what is added */
	HEADERS_MAX = 64,
	SERVING = 1,
};

struct gs_grpc {
	nghttp2_session *session;
	uint8_t request[REQUEST_MAX];
	size_t request_length, request_sent;
	uint8_t answer[ANSWER_MAX];
	size_t answer_length;
	uint32_t headers;
	uint32_t http_status;
	int grpc_status; /* -1: none so far */
	bool is_too_long;
	bool is_closed;
	uint32_t close_error; /* HTTP/2's, of the stream */
};

/* ---- the request ----------------------------------------------------------------------------- */

/* HealthCheckRequest { string service = 1; }; 0 or -EINVAL. */
static int format_message(struct gs_grpc *grpc, const char *service)
{
	uint8_t *message = grpc->request + FRAME_HEAD;
	uint8_t name[sizeof(((struct gs_probe_spec *)0)->request)];
	int count = gs_probe_unescape(service, name);
	size_t length = 0;

	if (count < 0)
		return -EINVAL;
	if (count > 0) {
		message[length++] = 1 << 3 | 2;
		message[length++] = (uint8_t)(count < 0x80 ? count : (count & 0x7f) | 0x80);
		if (count >= 0x80)
			message[length++] = (uint8_t)(count >> 7);
		memcpy(message + length, name, (size_t)count);
		length += (size_t)count;
	}
	memset(grpc->request, 0, FRAME_HEAD);
	grpc->request[3] = (uint8_t)(length >> 8);
	grpc->request[4] = (uint8_t)length;
	grpc->request_length = FRAME_HEAD + length;
	return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
			    uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct gs_grpc *grpc = context;
	size_t left = grpc->request_length - grpc->request_sent;

	(void)session;
	(void)stream;
	(void)source;
	if (left > room)
		left = room;
	memcpy(out, grpc->request + grpc->request_sent, left);
	grpc->request_sent += left;
	if (grpc->request_sent == grpc->request_length)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)left;
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){.name = (uint8_t *)name,
			    .value = (uint8_t *)value,
			    .namelen = strlen(name),
			    .valuelen = strlen(value)};
}

static void format_authority(const struct gs_probe_target *target, char *out, size_t room)
{
	bool is_v4 = gs_addr_is_v4(&target->addr);
	char address[INET6_ADDRSTRLEN] = "";

	if (target->spec.host[0]) {
		snprintf(out, room, "%s", target->spec.host);
		return;
	}
	inet_ntop(is_v4 ? AF_INET : AF_INET6, target->addr.bytes + (is_v4 ? 12 : 0), address,
		  sizeof(address));
	snprintf(out, room, is_v4 ? "%s:%u" : "[%s]:%u", address, (unsigned int)target->port);
}

static int submit(struct gs_grpc *grpc, const struct gs_probe_target *target)
{
	char authority[sizeof(target->spec.host) + INET6_ADDRSTRLEN], timeout[16];
	bool is_tls = target->spec.kind == GS_PROBE_GRPCS;
	const nghttp2_data_provider provider = {.read_callback = read_request};
	const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};

	format_authority(target, authority, sizeof(authority));
	snprintf(timeout, sizeof(timeout), "%um", target->spec.timeout_ms);
	const nghttp2_nv headers[] = {
		header(":method", "POST"),
		header(":scheme", is_tls ? "https" : "http"),
		header(":path", "/grpc.health.v1.Health/Check"),
		header(":authority", authority),
		header("content-type", "application/grpc"),
		header("te", "trailers"),
		header("grpc-timeout", timeout),
		header("user-agent", "geostream-probe"),
	};

	if (nghttp2_submit_settings(grpc->session, NGHTTP2_FLAG_NONE, &no_push, 1) != 0 ||
	    nghttp2_submit_request(grpc->session, NULL, headers,
				   sizeof(headers) / sizeof(headers[0]), &provider, NULL) < 0)
		return -ENOMEM;
	return 0;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool is_named(const uint8_t *name, size_t length, const char *want)
{
	return length == strlen(want) && memcmp(name, want, length) == 0;
}

/* A number of up to four digits, or -1. */
static int number_of(const uint8_t *value, size_t length)
{
	int number = 0;

	if (length < 1 || length > 4)
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -1;
		number = number * 10 + (value[i] - '0');
	}
	return number;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
		     void *context)
{
	struct gs_grpc *grpc = context;
	int number;

	(void)session;
	(void)frame;
	(void)flags;
	if (++grpc->headers > HEADERS_MAX)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	number = number_of(value, value_length);
	if (is_named(name, name_length, ":status"))
		grpc->http_status = number > 0 ? (uint32_t)number : 0;
	else if (is_named(name, name_length, "grpc-status"))
		grpc->grpc_status = number >= 0 ? number : INT16_MAX;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
		   size_t count, void *context)
{
	struct gs_grpc *grpc = context;

	(void)session;
	(void)flags;
	(void)stream;
	if (count > ANSWER_MAX - grpc->answer_length) {
		grpc->is_too_long = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	memcpy(grpc->answer + grpc->answer_length, bytes, count);
	grpc->answer_length += count;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *context)
{
	struct gs_grpc *grpc = context;

	(void)session;
	(void)stream;
	grpc->is_closed = true;
	grpc->close_error = error;
	return 0;
}

/* A varint; false: cut short, or too long. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; *at < end && shift < 64; shift += 7) {
		uint8_t byte = *(*at)++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* HealthCheckResponse { ServingStatus status = 1; }; 0, which is UNKNOWN, if it is not there. */
static bool read_serving(const uint8_t *at, const uint8_t *end, uint64_t *ret_status)
{
	*ret_status = 0;
	while (at < end) {
		uint64_t key, value = 0;

		if (!read_varint(&at, end, &key))
			return false;
		switch (key & 7) {
		case 0:
			if (!read_varint(&at, end, &value))
				return false;
			if (key >> 3 == 1)
				*ret_status = value;
			value = 0;
			break;
		case 1:
			value = 8;
			break;
		case 2:
			if (!read_varint(&at, end, &value))
				return false;
			break;
		case 5:
			value = 4;
			break;
		default:
			return false;
		}
		if (value > (uint64_t)(end - at))
			return false;
		at += value;
	}
	return true;
}

static enum gs_probe_class judge(const struct gs_grpc *grpc)
{
	const uint8_t *answer = grpc->answer;
	uint64_t status;
	size_t length;

	if (grpc->http_status != 0 && grpc->http_status != 200)
		return GS_PROBE_STATUS;
	if (grpc->grpc_status > 0)
		return GS_PROBE_STATUS;
	if (grpc->close_error != 0 || grpc->grpc_status < 0 || grpc->answer_length < FRAME_HEAD)
		return GS_PROBE_BAD_REPLY;
	length = (size_t)answer[1] << 24 | (size_t)answer[2] << 16 | (size_t)answer[3] << 8 |
		 answer[4];
	if (answer[0] != 0 || length != grpc->answer_length - FRAME_HEAD ||
	    !read_serving(answer + FRAME_HEAD, answer + grpc->answer_length, &status))
		return GS_PROBE_BAD_REPLY;
	return status == SERVING ? GS_PROBE_OK : GS_PROBE_STATUS;
}

bool gs_grpc_feed(struct gs_grpc *grpc, const uint8_t *bytes, size_t count,
		  enum gs_probe_class *ret_class)
{
	ssize_t used = nghttp2_session_mem_recv(grpc->session, bytes, count);

	*ret_class = GS_PROBE_BAD_REPLY;
	if (grpc->is_closed)
		*ret_class = judge(grpc);
	return grpc->is_closed || used != (ssize_t)count ||
	       (!nghttp2_session_want_read(grpc->session) &&
		!nghttp2_session_want_write(grpc->session));
}

ssize_t gs_grpc_take(struct gs_grpc *grpc, const uint8_t **ret_bytes)
{
	ssize_t count = nghttp2_session_mem_send(grpc->session, ret_bytes);

	return count >= 0 ? count : -EPROTO;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int open_session(struct gs_grpc *grpc)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	int err = nghttp2_session_callbacks_new(&callbacks);

	if (err)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	err = nghttp2_option_new(&option);
	if (!err) {
		/* Answers of ours to pings and settings that a server floods us with. */
		nghttp2_option_set_max_outbound_ack(option, 16);
		err = nghttp2_session_client_new2(&grpc->session, callbacks, grpc, option);
		nghttp2_option_del(option);
	}
	nghttp2_session_callbacks_del(callbacks);
	return err ? -ENOMEM : 0;
}

int gs_grpc_open(const struct gs_probe_target *target, struct gs_grpc **ret_grpc)
{
	struct gs_grpc *grpc = calloc(1, sizeof(*grpc));
	int ret = grpc ? format_message(grpc, target->spec.request) : -ENOMEM;

	if (!ret) {
		grpc->grpc_status = -1;
		ret = open_session(grpc);
	}
	if (!ret)
		ret = submit(grpc, target);
	if (ret) {
		gs_grpc_close(grpc);
		return ret;
	}
	*ret_grpc = grpc;
	return 0;
}

void gs_grpc_close(struct gs_grpc *grpc)
{
	if (!grpc)
		return;
	if (grpc->session)
		nghttp2_session_del(grpc->session);
	free(grpc);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_http.h"

#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- the request ----------------------------------------------------------------------------- */

/* Printable ASCII without blanks: nothing that could end a request line or a header. */
static bool is_clean(const char *text, size_t room)
{
	size_t length = strnlen(text, room);

	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return length < room;
}

static void format_host(const struct gs_probe_target *target, char *host, size_t room)
{
	bool is_v4 = gs_addr_is_v4(&target->addr);
	char address[INET6_ADDRSTRLEN] = "";

	if (target->spec.host[0]) {
		snprintf(host, room, "%s", target->spec.host);
		return;
	}
	inet_ntop(is_v4 ? AF_INET : AF_INET6, target->addr.bytes + (is_v4 ? 12 : 0), address,
		  sizeof(address));
	snprintf(host, room, is_v4 ? "%s:%u" : "[%s]:%u", address, (unsigned int)target->port);
}

int gs_http_format_request(const struct gs_probe_target *target, char request[GS_HTTP_REQUEST_MAX])
{
	char host[sizeof(target->spec.host) + INET6_ADDRSTRLEN];
	const char *path = target->spec.path[0] ? target->spec.path : "/";
	int length;

	if (!is_clean(target->spec.path, sizeof(target->spec.path)) ||
	    !is_clean(target->spec.host, sizeof(target->spec.host)) || path[0] != '/')
		return -EINVAL;
	format_host(target, host, sizeof(host));
	length = snprintf(request, GS_HTTP_REQUEST_MAX,
			  "GET %s HTTP/1.1\r\n"
			  "Host: %s\r\n"
			  "User-Agent: geostream-probe\r\n"
			  "Accept: */*\r\n"
			  "Connection: close\r\n\r\n",
			  path, host);
	return length < GS_HTTP_REQUEST_MAX ? length : -EINVAL;
}

/* ---- the head -------------------------------------------------------------------------------- */

enum { HEADER_NAME, HEADER_LENGTH, HEADER_ENCODING, HEADER_RETRY, HEADER_OTHER };

static const char *const HEADERS[] = {
	[HEADER_LENGTH] = "content-length",
	[HEADER_ENCODING] = "transfer-encoding",
	[HEADER_RETRY] = "retry-after",
};

static char lower(char byte)
{
	return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

int gs_http_answer_init(struct gs_http_answer *answer, const struct gs_probe_spec *spec)
{
	if (gs_status_set_parse(spec->status, &answer->statuses) != 0)
		return -EINVAL;
	return gs_match_init(&answer->match, spec);
}

/* One byte of "HTTP/1.x nnn", and the blank or line end behind it. False: it is something else. */
static bool take_status_byte(struct gs_http_answer *answer, char byte)
{
	static const char pattern[] = "HTTP/1.d ddd"; /* d: a digit */
	char want;

	if (answer->at == sizeof(pattern) - 1) {
		answer->state = byte == '\n' ? GS_HTTP_LINE_START : GS_HTTP_LINE;
		answer->header = HEADER_OTHER;
		return byte == ' ' || byte == '\r' || byte == '\n';
	}
	want = pattern[answer->at++];
	if (want != 'd')
		return byte == want;
	if (byte < '0' || byte > '9')
		return false;
	if (answer->at > sizeof("HTTP/1.d ") - 1)
		answer->status = (uint16_t)(answer->status * 10 + (byte - '0'));
	return true;
}

static void begin_line(struct gs_http_answer *answer)
{
	answer->state = GS_HTTP_LINE;
	answer->header = HEADER_NAME;
	answer->candidates = 1 << HEADER_LENGTH | 1 << HEADER_ENCODING | 1 << HEADER_RETRY;
	answer->at = 0;
}

static void begin_value(struct gs_http_answer *answer)
{
	answer->header = HEADER_OTHER;
	for (int h = HEADER_LENGTH; h < HEADER_OTHER; h++)
		if ((answer->candidates & 1 << h) && HEADERS[h][answer->at] == 0)
			answer->header = (uint8_t)h;
	answer->at = 0;
	if (answer->header == HEADER_LENGTH) {
		answer->has_length = true;
		answer->left = 0;
	}
	answer->says_retry |= answer->header == HEADER_RETRY;
}

static void take_name_byte(struct gs_http_answer *answer, char byte)
{
	if (byte == ':') {
		begin_value(answer);
		return;
	}
	for (int h = HEADER_LENGTH; h < HEADER_OTHER; h++)
		if ((answer->candidates & 1 << h) &&
		    (!byte || HEADERS[h][answer->at] != lower(byte)))
			answer->candidates &= (uint8_t) ~(1 << h);
	if (answer->candidates)
		answer->at++;
	else
		answer->header = HEADER_OTHER;
}

static void take_value_byte(struct gs_http_answer *answer, char byte)
{
	static const char chunked[] = "chunked";

	if (answer->header == HEADER_LENGTH && byte >= '0' && byte <= '9' &&
	    answer->left < UINT64_MAX / 100)
		answer->left = answer->left * 10 + (uint64_t)(byte - '0');
	/* The last of the codings says how the body ends. */
	if (answer->header == HEADER_ENCODING && byte > ' ') {
		byte = lower(byte);
		answer->at = byte == chunked[answer->at] ? (uint8_t)(answer->at + 1) : byte == 'c';
		answer->is_chunked = answer->at == sizeof(chunked) - 1;
	}
}

static bool is_busy(const struct gs_http_answer *answer)
{
	return answer->says_retry && (answer->status == 429 || answer->status == 503);
}

/* The end of a head: the answer's, or an interim one (1xx) that promises another. True: judged. */
static bool end_head(struct gs_http_answer *answer, enum gs_probe_class *ret_class)
{
	uint16_t status = answer->status;

	answer->at = 0;
	if (status >= 100 && status < 200 && status != 101) {
		answer->state = GS_HTTP_STATUS_LINE;
		answer->status = 0;
		answer->has_length = answer->is_chunked = answer->says_retry = false;
		return false;
	}
	answer->bytes = 0;
	answer->state = GS_HTTP_DONE;
	if (!is_busy(answer) && !gs_status_set_has(&answer->statuses, status)) {
		*ret_class = GS_PROBE_STATUS;
		return true;
	}
	if (is_busy(answer) || answer->match.length == 0) {
		*ret_class = GS_PROBE_OK;
		return true;
	}
	if (!answer->has_length || answer->is_chunked)
		answer->left = answer->is_chunked ? 0 : UINT64_MAX;
	if (status == 204 || status == 304 || (answer->left == 0 && !answer->is_chunked)) {
		*ret_class = GS_PROBE_BODY;
		return true;
	}
	answer->state = answer->is_chunked ? GS_HTTP_CHUNK_SIZE : GS_HTTP_BODY;
	return false;
}

enum taken { TAKEN, TAKEN_HEAD, TAKEN_RUBBISH };

static enum taken take_line_byte(struct gs_http_answer *answer, char byte)
{
	if (byte == '\n')
		answer->state = GS_HTTP_LINE_START;
	else if (answer->header == HEADER_NAME)
		take_name_byte(answer, byte);
	else
		take_value_byte(answer, byte);
	return TAKEN;
}

static enum taken take_head_byte(struct gs_http_answer *answer, char byte)
{
	switch (answer->state) {
	case GS_HTTP_STATUS_LINE:
		return take_status_byte(answer, byte) ? TAKEN : TAKEN_RUBBISH;
	case GS_HTTP_LINE_START:
		if (byte == '\n')
			return TAKEN_HEAD;
		if (byte == '\r') {
			answer->state = GS_HTTP_LAST_LF;
			return TAKEN;
		}
		begin_line(answer);
		return take_line_byte(answer, byte);
	case GS_HTTP_LAST_LF:
		return byte == '\n' ? TAKEN_HEAD : TAKEN_RUBBISH;
	default:
		return take_line_byte(answer, byte);
	}
}

/* ---- the body -------------------------------------------------------------------------------- */

static int hex_digit(char byte)
{
	byte = lower(byte);
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Of the lines between chunks. TAKEN_HEAD: it was the last one. */
static enum taken take_chunk_byte(struct gs_http_answer *answer, char byte)
{
	int digit = hex_digit(byte);

	if (answer->state == GS_HTTP_CHUNK_END) {
		if (byte == '\n') {
			answer->state = GS_HTTP_CHUNK_SIZE;
			answer->at = 0;
		}
		return byte == '\n' || byte == '\r' ? TAKEN : TAKEN_RUBBISH;
	}
	if (answer->state == GS_HTTP_CHUNK_SIZE && digit >= 0) {
		if (answer->at++ == 15)
			return TAKEN_RUBBISH;
		answer->left = answer->left * 16 + (uint64_t)digit;
		return TAKEN;
	}
	if (answer->at == 0)
		return TAKEN_RUBBISH;
	answer->state = GS_HTTP_CHUNK_LINE; /* extensions, which nobody uses */
	if (byte != '\n')
		return TAKEN;
	answer->state = GS_HTTP_CHUNK_DATA;
	return answer->left > 0 ? TAKEN : TAKEN_HEAD;
}

/* Bytes of it that were used. */
static size_t take_data(struct gs_http_answer *answer, const char *bytes, size_t count,
			enum gs_match_result *ret_result)
{
	if (count > answer->left)
		count = (size_t)answer->left;
	answer->left -= count;
	*ret_result = gs_match_feed(&answer->match, (const uint8_t *)bytes, count);
	if (*ret_result == GS_MATCH_MORE && answer->left == 0) {
		if (answer->state == GS_HTTP_BODY)
			*ret_result = GS_MATCH_NOT;
		answer->state = GS_HTTP_CHUNK_END;
	}
	return count;
}

/* The same of the body: true once it is judged. */
static bool feed_body(struct gs_http_answer *answer, const char *bytes, size_t count,
		      enum gs_probe_class *ret_class)
{
	enum gs_match_result result = GS_MATCH_MORE;
	size_t used;

	for (size_t i = 0; i < count && result == GS_MATCH_MORE; i += used) {
		enum taken taken = TAKEN;

		used = 1;
		if (answer->state == GS_HTTP_BODY || answer->state == GS_HTTP_CHUNK_DATA)
			used = take_data(answer, bytes + i, count - i, &result);
		else
			taken = take_chunk_byte(answer, bytes[i]);
		answer->bytes += (uint32_t)used;
		if (taken == TAKEN_HEAD ||
		    (result == GS_MATCH_MORE && answer->bytes >= GS_HTTP_BODY_MAX))
			result = GS_MATCH_NOT;
		if (taken == TAKEN_RUBBISH) {
			answer->state = GS_HTTP_DONE;
			*ret_class = GS_PROBE_BAD_REPLY;
			return true;
		}
	}
	if (result == GS_MATCH_MORE)
		return false;
	answer->state = GS_HTTP_DONE;
	*ret_class = result == GS_MATCH_FOUND ? GS_PROBE_OK : GS_PROBE_BODY;
	return true;
}

/* ---- the answer ------------------------------------------------------------------------------ */

bool gs_http_feed(struct gs_http_answer *answer, const char *bytes, size_t count,
		  enum gs_probe_class *ret_class)
{
	size_t i = 0;

	while (i < count && answer->state < GS_HTTP_BODY) {
		enum taken taken = take_head_byte(answer, bytes[i++]);

		if (++answer->bytes > GS_HTTP_HEAD_MAX || taken == TAKEN_RUBBISH) {
			*ret_class = GS_PROBE_BAD_REPLY;
			return true;
		}
		if (taken == TAKEN_HEAD && end_head(answer, ret_class))
			return true;
	}
	return i < count && feed_body(answer, bytes + i, count - i, ret_class);
}

enum gs_probe_class gs_http_end(const struct gs_http_answer *answer)
{
	/* A body without a length ends with its connection. */
	return answer->state == GS_HTTP_BODY && !answer->has_length ? GS_PROBE_BODY
								    : GS_PROBE_BAD_REPLY;
}

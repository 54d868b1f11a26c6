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

/* ---- the answer ------------------------------------------------------------------------------ */

/* One byte of "HTTP/1.x nnn", and the blank or line end behind it. False: it is something else. */
static bool take_status_byte(struct gs_http_head *head, char byte)
{
	static const char pattern[] = "HTTP/1.d ddd"; /* d: a digit */
	char want;

	if (head->at == sizeof(pattern) - 1) {
		head->state = byte == '\n' ? GS_HTTP_LINE_START : GS_HTTP_LINE;
		return byte == ' ' || byte == '\r' || byte == '\n';
	}
	want = pattern[head->at++];
	if (want != 'd')
		return byte == want;
	if (byte < '0' || byte > '9')
		return false;
	if (head->at > sizeof("HTTP/1.d ") - 1)
		head->status = (uint16_t)(head->status * 10 + (byte - '0'));
	return true;
}

/* The end of a head: the answer's, or an interim one (1xx) that promises another. */
static void end_head(struct gs_http_head *head)
{
	head->state = GS_HTTP_DONE;
	if (head->status < 100 || head->status >= 200 || head->status == 101)
		return;
	head->state = GS_HTTP_STATUS_LINE;
	head->at = 0;
	head->status = 0;
}

/* False: not HTTP. */
static bool take_byte(struct gs_http_head *head, char byte)
{
	switch (head->state) {
	case GS_HTTP_STATUS_LINE:
		return take_status_byte(head, byte);
	case GS_HTTP_LINE:
		if (byte == '\n')
			head->state = GS_HTTP_LINE_START;
		return true;
	case GS_HTTP_LINE_START:
		if (byte == '\n')
			end_head(head);
		else
			head->state = byte == '\r' ? GS_HTTP_LAST_LF : GS_HTTP_LINE;
		return true;
	case GS_HTTP_LAST_LF:
		if (byte == '\n')
			end_head(head);
		return byte == '\n';
	default:
		return true;
	}
}

bool gs_http_feed(struct gs_http_head *head, const char *bytes, size_t count,
		  enum gs_probe_class *ret_class)
{
	for (size_t i = 0; i < count && head->state != GS_HTTP_DONE; i++) {
		if (++head->bytes > GS_HTTP_HEAD_MAX || !take_byte(head, bytes[i])) {
			*ret_class = GS_PROBE_BAD_REPLY;
			return true;
		}
	}
	if (head->state != GS_HTTP_DONE)
		return false;
	*ret_class = head->status >= 200 && head->status < 400 ? GS_PROBE_OK : GS_PROBE_HTTP_STATUS;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a health probe needs of DNS (RFC 1035) over UDP: one question, one answer. Pure. */
#pragma once

#include "user/ports.h"

#include <stddef.h>

enum { GS_DNS_QUERY_MAX = 12 + 255 + 4 };

/* Bytes of the query for spec.request and spec.dns_type, recursion desired; or -EINVAL. */
int gs_dns_format_query(const struct gs_probe_spec *spec, uint16_t id,
			uint8_t query[GS_DNS_QUERY_MAX]);
/*
 * True once the answer is judged, *ret_class: OK (spec.dns_rcode; for noerror a record, too, unless
 * the answer says that it was cut), STATUS (another rcode), BODY (no record), BAD_REPLY. False: it
 * is no answer to this query, but somebody else's, an old one or a forgery.
 */
bool gs_dns_judge(const struct gs_probe_spec *spec, const uint8_t *query, size_t query_length,
		  const uint8_t *reply, size_t length, enum gs_probe_class *ret_class);

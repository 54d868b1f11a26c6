/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1.Health/Check, one call on one HTTP/2 connection, as bytes in and bytes out. The
 * only file that includes nghttp2 is probe_grpc.c.
 */
#pragma once

#include "user/ports.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gs_grpc;

/* The call of target.spec.request, ready to be sent. 0 or -errno. */
int gs_grpc_open(const struct gs_probe_target *target, struct gs_grpc **ret_grpc);
/* NULL is fine. */
void gs_grpc_close(struct gs_grpc *grpc);
/* What is to be sent, lent until the next call: bytes; 0: nothing; -EPROTO. */
ssize_t gs_grpc_take(struct gs_grpc *grpc, const uint8_t **ret_bytes);
/*
 * What came. True once the call is judged, *ret_class: OK (SERVING), STATUS (another state, HTTP
 * status or gRPC status), BAD_REPLY.
 */
bool gs_grpc_feed(struct gs_grpc *grpc, const uint8_t *bytes, size_t count,
		  enum gs_probe_class *ret_class);

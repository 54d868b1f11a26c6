/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for probes, as bytes in and bytes out: no sockets, nothing that waits. CAs are read by a
 * thread of their own. The only file that includes OpenSSL is probe_tls.c.
 */
#pragma once

#include "user/base/loop.h"
#include "user/ports.h"

#include <stddef.h>
#include <sys/types.h>

struct gs_tls;
struct gs_tls_trust;

/* on_change: CAs that some wait for have been loaded, or could not be. 0 or -errno. */
int gs_tls_trust_new(struct gs_loop *loop, void (*on_change)(void *context), void *context,
		     struct gs_tls_trust **ret_trust);
/* NULL is fine. Before the probes that use it are gone, or after. */
void gs_tls_trust_free(struct gs_tls_trust *trust);

/* Are the CAs of spec.trust there? As gs_tls_open, which then says the same; begins to load them.
 */
int gs_tls_trust_ask(struct gs_tls_trust *trust, const struct gs_probe_spec *spec);

/*
 * A client for target.spec: its trust, its host as the name that is asked for and that the
 * certificate has to be for (without one: the target's address), protocol as ALPN has it ("h2").
 * 0; -EINPROGRESS: its CAs are being loaded, on_change() follows; another -errno: of the CAs.
 */
int gs_tls_open(struct gs_tls_trust *trust, const struct gs_probe_target *target,
		const char *protocol, struct gs_tls **ret_tls);
/* NULL is fine. */
void gs_tls_close(struct gs_tls *tls);

/* What the peer sent. 0 or -ENOMEM. */
int gs_tls_feed(struct gs_tls *tls, const char *bytes, size_t count);
/* What is to be sent to it: bytes written to out, 0: nothing. To be asked after each call below. */
size_t gs_tls_take(struct gs_tls *tls, char *out, size_t room);

/* 1: hands are shaken; 0: the peer has to say more; -EPROTO: it will not do. */
int gs_tls_shake(struct gs_tls *tls);
/* 0 or -EPROTO; after hands are shaken. */
int gs_tls_write(struct gs_tls *tls, const char *bytes, size_t count);
/* Bytes; 0: none yet; -ENODATA: the peer has closed; -EPROTO. */
ssize_t gs_tls_read(struct gs_tls *tls, char *out, size_t room);

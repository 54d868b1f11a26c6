/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS server on a test's loop that does as it is told, and certificates made on the spot. Fails
 * the test that uses it.
 */
#pragma once

#include "user/base/loop.h"
#include "user/core/types.h"

#include <openssl/ssl.h>

enum tls_manner {
	TLS_REPLIES,	  /* `reply` to the request, and waits */
	TLS_REPLIES_ENDS, /* the same, and closes as TLS has it */
	TLS_CUTS,	  /* the same, and closes without a word */
	TLS_FLOODS,	  /* `reply`, then `flood` for ever */
	TLS_DRIPS,	  /* `reply`, a record of one byte every 2 ms */
	TLS_MUTE,	  /* shakes hands and reads, never answers */
	TLS_SILENT,	  /* accepts the connection, and that is all */
	TLS_RUBBISH,	  /* says `reply` without any TLS */
	TLS_HANGS_UP,	  /* closes instead of shaking hands */
	TLS_RESETS,	  /* the same, by RST */
};

enum { TLS_CLIENTS_MAX = 64, TLS_REQUEST_MAX = 4096 };

struct tls_client {
	struct tls_server *server;
	struct gs_io io;
	struct gs_timer timer;
	SSL *ssl;
	bool has_answered;
	size_t sent;
	void *session; /* of `speak` */
};

struct tls_server {
	struct gs_loop *loop;
	struct gs_io io;
	struct gs_addr addr;
	uint16_t port;
	SSL_CTX *context;
	enum tls_manner manner;
	const char *reply;
	const char *flood;
	/* Instead of `reply`: told what came; closes the connection if it returns false. */
	bool (*speak)(struct tls_client *client, const char *bytes, size_t count);
	char request[TLS_REQUEST_MAX];
	size_t request_length;
	char asked_name[256]; /* SNI of the last one, "" for none */
	uint32_t full_handshakes;
	uint32_t client_count;
	struct tls_client clients[TLS_CLIENTS_MAX];
};

struct tls_certificate {
	EVP_PKEY *key;
	X509 *x509;
};

/* names: as OpenSSL has them, "DNS:a.test,IP:127.0.0.1"; NULL: of a CA. issuer NULL: its own. */
struct tls_certificate tls_certify(const char *names, const struct tls_certificate *issuer,
				   int not_before_s, int not_after_s);
void tls_certificate_free(struct tls_certificate *certificate);
void tls_certificate_write(const struct tls_certificate *certificate, const char *path);

/* On 127.0.0.1, or ::1. */
void tls_server_start(struct tls_server *server, struct gs_loop *loop, int family,
		      const struct tls_certificate *certificate);
void tls_server_stop(struct tls_server *server);

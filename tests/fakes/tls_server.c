/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "tests/fakes/tls_server.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- certificates ---------------------------------------------------------------------------- */

static void add_extension(X509 *x509, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(x509, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

struct tls_certificate tls_certify(const char *names, const struct tls_certificate *issuer,
				   int not_before_s, int not_after_s)
{
	static long serial = 1;
	struct tls_certificate made = {.key = EVP_EC_gen("P-256"), .x509 = X509_new()};
	X509_NAME *subject = X509_get_subject_name(made.x509);
	char common[32];

	snprintf(common, sizeof(common), names ? "leaf %ld" : "ca %ld", serial);
	X509_set_version(made.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(made.x509), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.x509), not_before_s);
	X509_gmtime_adj(X509_getm_notAfter(made.x509), not_after_s);
	X509_set_pubkey(made.x509, made.key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (unsigned char *)common, -1, -1, 0);
	X509_set_issuer_name(made.x509, issuer ? X509_get_subject_name(issuer->x509) : subject);
	add_extension(made.x509, NID_basic_constraints, names ? "CA:FALSE" : "critical,CA:TRUE");
	if (names)
		add_extension(made.x509, NID_subject_alt_name, names);
	assert_true(X509_sign(made.x509, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
	return made;
}

void tls_certificate_free(struct tls_certificate *certificate)
{
	X509_free(certificate->x509);
	EVP_PKEY_free(certificate->key);
}

void tls_certificate_write(const struct tls_certificate *certificate, const char *path)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, certificate->x509), 1);
	fclose(file);
}

/* ---- the server ------------------------------------------------------------------------------ */

static void drop_client(struct tls_client *client, bool by_reset)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (client->io.fd < 0)
		return;
	if (by_reset)
		setsockopt(client->io.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	gs_loop_io_clear(client->server->loop, &client->io);
	gs_loop_timer_clear(client->server->loop, &client->timer);
	if (client->server->speak)
		client->server->speak(client, NULL, 0);
	SSL_free(client->ssl);
	close(client->io.fd);
	client->io.fd = -1;
}

static void on_drip(struct gs_timer *timer)
{
	struct tls_client *client = timer->context;
	const char *reply = client->server->reply;

	if (!reply[client->sent] || SSL_write(client->ssl, reply + client->sent, 1) != 1)
		return;
	client->sent++;
	gs_loop_timer_set(client->server->loop, timer, 2);
}

static void flood(struct tls_client *client)
{
	const char *text = client->server->flood;

	for (int i = 0; i < 64; i++)
		if (SSL_write(client->ssl, text, (int)strlen(text)) <= 0)
			break;
	gs_loop_io_set(client->server->loop, &client->io, EPOLLIN | EPOLLOUT);
}

static void answer(struct tls_client *client)
{
	struct tls_server *server = client->server;

	client->has_answered = true;
	if (server->manner == TLS_MUTE)
		return;
	if (server->manner == TLS_DRIPS) {
		on_drip(&client->timer);
		return;
	}
	assert_true(SSL_write(client->ssl, server->reply, (int)strlen(server->reply)) > 0);
	if (server->manner == TLS_FLOODS)
		flood(client);
	if (server->manner == TLS_REPLIES_ENDS)
		SSL_shutdown(client->ssl);
	if (server->manner == TLS_REPLIES_ENDS || server->manner == TLS_CUTS)
		drop_client(client, false);
}

static void read_request(struct tls_client *client)
{
	struct tls_server *server = client->server;
	char bytes[4096];
	int got;

	while (client->io.fd >= 0 && (got = SSL_read(client->ssl, bytes, sizeof(bytes))) > 0) {
		if (server->speak) {
			if (!server->speak(client, bytes, (size_t)got))
				drop_client(client, false);
			continue;
		}
		assert_true(server->request_length + (size_t)got < TLS_REQUEST_MAX);
		memcpy(server->request + server->request_length, bytes, (size_t)got);
		server->request_length += (size_t)got;
		server->request[server->request_length] = 0;
		if (strstr(server->request, "\r\n\r\n") && !client->has_answered)
			answer(client);
	}
	ERR_clear_error();
}

static void on_client(struct gs_io *io, uint32_t epoll_events)
{
	struct tls_client *client = io->context;
	struct tls_server *server = client->server;
	char byte;
	int ret;

	if (recv(io->fd, &byte, 1, MSG_PEEK) == 0) {
		drop_client(client, false);
		return;
	}
	if (!SSL_is_init_finished(client->ssl)) {
		ret = SSL_accept(client->ssl);
		if (ret != 1 && SSL_get_error(client->ssl, ret) != SSL_ERROR_WANT_READ)
			drop_client(client, false);
		ERR_clear_error();
		if (ret != 1)
			return;
		server->full_handshakes += !SSL_session_reused(client->ssl);
		snprintf(server->asked_name, sizeof(server->asked_name), "%s",
			 SSL_get_servername(client->ssl, TLSEXT_NAMETYPE_host_name)
				 ? SSL_get_servername(client->ssl, TLSEXT_NAMETYPE_host_name)
				 : "");
	}
	if (client->has_answered && (epoll_events & EPOLLOUT) && server->manner == TLS_FLOODS)
		flood(client);
	read_request(client);
}

/* What does without a word of TLS. True: it is done. */
static bool is_rude(struct tls_client *client)
{
	struct tls_server *server = client->server;

	switch (server->manner) {
	case TLS_HANGS_UP:
	case TLS_RESETS:
		drop_client(client, server->manner == TLS_RESETS);
		return true;
	case TLS_RUBBISH:
		send(client->io.fd, server->reply, strlen(server->reply), MSG_NOSIGNAL);
		return true;
	default:
		return server->manner == TLS_SILENT;
	}
}

static void on_accept(struct gs_io *io, uint32_t epoll_events)
{
	struct tls_server *server = io->context;
	struct tls_client *client = &server->clients[server->client_count];
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)epoll_events;
	if (fd < 0)
		return;
	assert_true(server->client_count < TLS_CLIENTS_MAX);
	server->client_count++;
	*client = (struct tls_client){.server = server, .ssl = SSL_new(server->context)};
	client->io = (struct gs_io){.fd = fd, .on_ready = on_client, .context = client};
	client->timer = (struct gs_timer){.on_due = on_drip, .context = client};
	server->request_length = 0;
	SSL_set_fd(client->ssl, fd);
	SSL_set_accept_state(client->ssl);
	if (!is_rude(client))
		assert_int_equal(gs_loop_io_set(server->loop, &client->io, EPOLLIN), 0);
}

/* Whatever of ours the client offers. */
static int choose_protocol(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_length,
			   const unsigned char *offered, unsigned int length, void *context)
{
	(void)ssl;
	(void)context;
	assert_true(length > 1);
	*ret_chosen = offered + 1;
	*ret_length = offered[0];
	return SSL_TLSEXT_ERR_OK;
}

void tls_server_start(struct tls_server *server, struct gs_loop *loop, int family,
		      const struct tls_certificate *certificate)
{
	memset(server, 0, sizeof(*server));
	server->loop = loop;
	server->context = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate(server->context, certificate->x509), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(server->context, certificate->key), 1);
	SSL_CTX_set_alpn_select_cb(server->context, choose_protocol, NULL);
	SSL_CTX_set_mode(server->context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	server->io = (struct gs_io){.on_ready = on_accept, .context = server};
	server->io.fd = probe_scene_bind(family, SOCK_STREAM, &server->addr, &server->port);
	assert_int_equal(listen(server->io.fd, 64), 0);
	assert_int_equal(gs_loop_io_set(loop, &server->io, EPOLLIN), 0);
}

void tls_server_stop(struct tls_server *server)
{
	for (uint32_t i = 0; i < server->client_count; i++)
		drop_client(&server->clients[i], true);
	gs_loop_io_clear(server->loop, &server->io);
	close(server->io.fd);
	SSL_CTX_free(server->context);
}

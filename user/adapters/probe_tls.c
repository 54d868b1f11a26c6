/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_tls.h"

#include "probe_errand.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

/* Files of CAs may change: read again by the thread, while the old ones serve on. */
#define RELOAD_MS 60000
#define RETRY_MS 5000
#define FILE_BYTES_MAX (4 << 20)
/*
 * A session is taken up again, which costs a quarter, but for so long only: then hands are shaken
 * in full, and the certificate is looked at again.
 */
#define RESUME_MS 10000

/* ---- whose certificates are trusted ---------------------------------------------------------- */

/* The CAs of one `trust`. */
struct store {
	struct gs_tls_trust *trust;
	struct store *next;
	char name[sizeof(((struct gs_probe_spec *)0)->trust)];
	SSL_CTX *context; /* NULL: not loaded so far */
	int error;	  /* of the last attempt */
	bool is_loading;
	uint64_t tried_ms;
	struct gs_errand errand;
	SSL_CTX *loaded; /* the thread's, until it is done */
	int load_error;
};

/* The last one with a backend. */
struct session {
	SSL_SESSION *session;
	uint64_t target; /* hash of all that is to be the same */
	uint64_t full_ms;
};

struct gs_tls_trust {
	struct gs_loop *loop;
	struct session sessions[GS_ID_MAX_BACKEND + 1];
	struct gs_errands *errands;
	void (*on_change)(void *context);
	void *context;
	struct store *stores;
};

struct gs_tls {
	struct gs_tls_trust *trust;
	gs_id backend;
	uint64_t target;
	SSL *ssl;
	BIO *in, *out; /* ssl's */
};

/* Nothing that has no end, or waits for one: the path is whoever's who may change services. */
static int load_file(SSL_CTX *context, const char *path)
{
	GS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat found;

	if (fd < 0 || fstat(fd, &found) != 0)
		return -errno;
	if (!S_ISREG(found.st_mode) || found.st_size > FILE_BYTES_MAX)
		return -EINVAL;
	return SSL_CTX_load_verify_file(context, path) == 1 ? 0 : -EBADMSG;
}

/* Names are hashes of subjects ("5ed36f99.0"), as `openssl rehash` makes them. */
static void load_folder(SSL_CTX *context, const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	char file[512];

	while (folder && (entry = readdir(folder)))
		if (strlen(entry->d_name) == 10 && entry->d_name[8] == '.' &&
		    (size_t)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) <
			    sizeof(file))
			(void)SSL_CTX_load_verify_file(context, file);
	if (folder)
		closedir(folder);
}

static const char *path_of(const char *variable, const char *otherwise)
{
	const char *path = secure_getenv(variable);

	return path && *path ? path : otherwise;
}

/*
 * Where OpenSSL has them, all at once: by itself it would look for them in the folder during a
 * handshake, on the loop.
 */
static int load_system(SSL_CTX *context)
{
	(void)load_file(context,
			path_of(X509_get_default_cert_file_env(), X509_get_default_cert_file()));
	load_folder(context, path_of(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
	return 0;
}

/* A ticket has come: kept, whatever becomes of the probe. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct gs_tls *tls = SSL_get_app_data(ssl);
	struct session *kept = &tls->trust->sessions[tls->backend];

	SSL_SESSION_free(kept->session);
	kept->session = session;
	kept->target = tls->target;
	if (!SSL_session_reused(ssl))
		kept->full_ms = gs_loop_now_ms(tls->trust->loop);
	return 1;
}

static int load(const char *name, SSL_CTX **ret_context)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	int ret = context ? 0 : -ENOMEM;

	if (!ret && strcmp(name, "none") != 0) {
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
		ret = strcmp(name, "system") == 0 ? load_system(context) : load_file(context, name);
	}
	ERR_clear_error();
	if (ret) {
		SSL_CTX_free(context);
		return ret;
	}
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, keep_session);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	*ret_context = context;
	return 0;
}

static void run_load(struct gs_errand *errand)
{
	struct store *store = (struct store *)((char *)errand - offsetof(struct store, errand));

	store->loaded = NULL;
	store->load_error = load(store->name, &store->loaded);
}

static void on_loaded(struct gs_errand *errand, bool is_over)
{
	struct store *store = (struct store *)((char *)errand - offsetof(struct store, errand));

	store->is_loading = false;
	if (is_over) {
		SSL_CTX_free(store->loaded);
		store->loaded = NULL;
		return;
	}
	store->error = store->load_error;
	if (store->error)
		gs_log_limited(GS_LOG_WARNING, "probe_trust", "file=%s error=%s", store->name,
			       strerror(-store->error));
	/* CAs that cannot be read any more: those there were are not forgotten. */
	if (store->loaded) {
		SSL_CTX_free(store->context);
		store->context = store->loaded;
		store->loaded = NULL;
	}
	store->trust->on_change(store->trust->context);
}

static void begin_load(struct store *store)
{
	store->tried_ms = gs_loop_now_ms(store->trust->loop);
	store->error = gs_errands_add(store->trust->errands, &store->errand);
	store->is_loading = store->error == 0;
}

static struct store *find_store(struct gs_tls_trust *trust, const char *name)
{
	struct store *store = trust->stores;

	if (!*name)
		name = "system";
	while (store && strcmp(store->name, name) != 0)
		store = store->next;
	if (store)
		return store;
	store = calloc(1, sizeof(*store));
	if (!store)
		return NULL;
	store->trust = trust;
	store->errand = (struct gs_errand){.run = run_load, .done = on_loaded};
	snprintf(store->name, sizeof(store->name), "%s", name);
	store->next = trust->stores;
	trust->stores = store;
	begin_load(store);
	return store;
}

/* Ready to be used, or as gs_tls_open says. */
static int ask_store(struct store *store)
{
	uint64_t age_ms = gs_loop_now_ms(store->trust->loop) - store->tried_ms;

	if (!store->is_loading && age_ms >= (store->error ? RETRY_MS : RELOAD_MS))
		begin_load(store);
	if (store->context)
		return 0;
	return store->is_loading ? -EINPROGRESS : store->error;
}

int gs_tls_trust_ask(struct gs_tls_trust *trust, const struct gs_probe_spec *spec)
{
	struct store *store = find_store(trust, spec->trust);

	return store ? ask_store(store) : -ENOMEM;
}

int gs_tls_trust_new(struct gs_loop *loop, void (*on_change)(void *context), void *context,
		     struct gs_tls_trust **ret_trust)
{
	struct gs_tls_trust *trust = calloc(1, sizeof(*trust));
	int ret = trust ? gs_errands_new(loop, &trust->errands) : -ENOMEM;

	if (ret) {
		free(trust);
		return ret;
	}
	trust->loop = loop;
	trust->on_change = on_change;
	trust->context = context;
	*ret_trust = trust;
	return 0;
}

void gs_tls_trust_free(struct gs_tls_trust *trust)
{
	if (!trust)
		return;
	gs_errands_free(trust->errands);
	for (size_t b = 0; b < ARRAY_SIZE(trust->sessions); b++)
		SSL_SESSION_free(trust->sessions[b].session);
	for (struct store *store = trust->stores, *next; store; store = next) {
		next = store->next;
		SSL_CTX_free(store->context);
		free(store);
	}
	free(trust);
}

/* ---- one connection -------------------------------------------------------------------------- */

/* "[2001:db8::1]:443", "example.net:443": without port and brackets. */
static void name_of(const char *host, char *out, size_t room)
{
	const char *colon = strchr(host, ':');
	size_t length = strlen(host);

	if (host[0] == '[')
		length = strcspn(++host, "]");
	else if (colon && !strchr(colon + 1, ':'))
		length = (size_t)(colon - host);
	snprintf(out, room, "%.*s", (int)length, host);
}

/* What the certificate has to be for, and what the server is told. False: out of memory. */
static bool set_name(SSL *ssl, const struct gs_probe_target *target)
{
	char name[sizeof(target->spec.host)];
	struct in6_addr address;
	bool is_v4 = gs_addr_is_v4(&target->addr);

	name_of(target->spec.host, name, sizeof(name));
	if (!name[0])
		return X509_VERIFY_PARAM_set1_ip(SSL_get0_param(ssl),
						 target->addr.bytes + (is_v4 ? 12 : 0),
						 is_v4 ? 4 : 16) == 1;
	if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

static bool set_protocol(SSL *ssl, const char *protocol)
{
	unsigned char list[16];
	int length = snprintf((char *)list, sizeof(list), "%c%s", (int)strlen(protocol), protocol);

	return SSL_set_alpn_protos(ssl, list, (unsigned int)length) == 0;
}

/* FNV-1a (Fowler, Noll, Vo) */
static uint64_t add_hash(uint64_t hash, const void *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
	return hash;
}

static uint64_t hash_target(const struct gs_probe_target *target, const char *protocol)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = add_hash(hash, &target->addr, sizeof(target->addr));
	hash = add_hash(hash, &target->port, sizeof(target->port));
	hash = add_hash(hash, target->spec.host, strlen(target->spec.host) + 1);
	hash = add_hash(hash, target->spec.trust, strlen(target->spec.trust) + 1);
	return add_hash(hash, protocol, strlen(protocol));
}

static void resume(struct gs_tls *tls)
{
	const struct session *kept = &tls->trust->sessions[tls->backend];

	if (kept->session && kept->target == tls->target &&
	    gs_loop_now_ms(tls->trust->loop) - kept->full_ms < RESUME_MS)
		SSL_set_session(tls->ssl, kept->session);
}

int gs_tls_open(struct gs_tls_trust *trust, const struct gs_probe_target *target,
		const char *protocol, struct gs_tls **ret_tls)
{
	int ret = gs_tls_trust_ask(trust, &target->spec);
	struct gs_tls *tls;

	if (ret)
		return ret;
	tls = calloc(1, sizeof(*tls));
	if (!tls)
		return -ENOMEM;
	tls->trust = trust;
	tls->backend = target->backend <= GS_ID_MAX_BACKEND ? target->backend : 0;
	tls->target = hash_target(target, protocol);
	tls->ssl = SSL_new(find_store(trust, target->spec.trust)->context);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out || !set_name(tls->ssl, target) ||
	    !set_protocol(tls->ssl, protocol)) {
		BIO_free(tls->in);
		BIO_free(tls->out);
		SSL_free(tls->ssl);
		free(tls);
		ERR_clear_error();
		return -ENOMEM;
	}
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_connect_state(tls->ssl);
	SSL_set_app_data(tls->ssl, tls);
	resume(tls);
	*ret_tls = tls;
	return 0;
}

void gs_tls_close(struct gs_tls *tls)
{
	if (!tls)
		return;
	/* Else it would take its session for a broken one. */
	SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(tls->ssl);
	free(tls);
}

int gs_tls_feed(struct gs_tls *tls, const char *bytes, size_t count)
{
	return BIO_write(tls->in, bytes, (int)count) == (int)count ? 0 : -ENOMEM;
}

size_t gs_tls_take(struct gs_tls *tls, char *out, size_t room)
{
	int count = BIO_read(tls->out, out, (int)room);

	return count > 0 ? (size_t)count : 0;
}

/* Of a call that returned `ret`: 0: it needs more; -ENODATA, -EPROTO. */
static int why_not(struct gs_tls *tls, int ret)
{
	int why = SSL_get_error(tls->ssl, ret);

	ERR_clear_error(); /* lest the next call of any probe find it */
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return 0;
	return why == SSL_ERROR_ZERO_RETURN ? -ENODATA : -EPROTO;
}

int gs_tls_shake(struct gs_tls *tls)
{
	int ret = SSL_do_handshake(tls->ssl);

	if (ret == 1)
		return 1;
	ret = why_not(tls, ret);
	return ret ? -EPROTO : 0;
}

int gs_tls_write(struct gs_tls *tls, const char *bytes, size_t count)
{
	int ret = SSL_write(tls->ssl, bytes, (int)count);

	if (ret == (int)count)
		return 0;
	(void)why_not(tls, ret);
	return -EPROTO;
}

ssize_t gs_tls_read(struct gs_tls *tls, char *out, size_t room)
{
	int ret = SSL_read(tls->ssl, out, (int)room);

	return ret > 0 ? ret : why_not(tls, ret);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the prober share. probe.c has the port and every probe's beginning and end. */
#pragma once

#include "probe_http.h"
#include "probe_match.h"

#include "user/base/loop.h"
#include "user/ports.h"

#include <sys/socket.h>

struct farewell;
struct gs_exec;
struct gs_grpc;
struct gs_probe_socket;
struct gs_tls;
struct gs_tls_trust;
struct probe;

/* Sockets that wait for the next probe of their backend. */
struct gs_probe_idle {
	struct gs_probe_socket *oldest, *newest;
	struct gs_probe_socket *of[GS_MAX_BACKENDS];
	uint32_t count, limit;
};

struct prober {
	struct gs_loop *loop;
	const struct gs_prober_events *events;
	void *context;
	struct probe *probes;	    /* under way */
	uint64_t random;	    /* of queries' ids, seeded by the kernel */
	struct gs_tls_trust *trust; /* NULL: not needed so far */
	struct gs_exec *exec;
	const struct gs_detour *detour; /* NULL: none */
	struct farewell *farewells;	/* connections that wait for their end */
	uint32_t farewell_count;
	struct gs_probe_idle idle;
};

/* How some kinds of probes are made. */
struct probe_way {
	/* 0: under way, or gs_probe_fail was called; -errno: nothing was begun. */
	int (*begin)(struct probe *probe);
	/*
	 * Time is up: is there something that was not looked at yet? True: *ret_class, LOCAL if it
	 * is for want of time of our own that there is no answer. False: silence.
	 */
	bool (*look)(struct probe *probe, enum gs_probe_class *ret_class);
	/* Before the probe is freed, whatever became of it. io is cleared and closed afterwards. */
	void (*done)(struct probe *probe);
};

extern const struct probe_way gs_probe_streams;	 /* tcp http https grpc grpcs */
extern const struct probe_way gs_probe_packets;	 /* udp dns icmp */
extern const struct probe_way gs_probe_commands; /* exec */

enum stage {
	STAGE_CONNECTING,
	STAGE_WAITING, /* for CAs that are being loaded */
	STAGE_SHAKING, /* hands, by TLS */
	STAGE_ASKED,   /* the request is sent */
	STAGE_FAILED,  /* at once: `result` is reported by the timer */
};

struct probe {
	struct prober *prober;
	struct probe *next, *previous;
	const struct probe_way *way;
	struct gs_probe_target target;
	uint64_t token;
	uint64_t start_us;
	struct gs_timer timer; /* the timeout */
	struct gs_io io;       /* fd -1: none */
	enum stage stage;
	enum gs_probe_class result;
	uint32_t received; /* bytes */
	uint32_t rtt_us;   /* of the network alone; 0: not known */
	bool is_good;	   /* it is over, and the target answered as it should */
	bool is_through;   /* the tunnel, by `detour` */
	struct gs_detour_way detour;
	/* streams */
	struct gs_probe_socket *socket; /* whose fd io has; NULL: io's own */
	bool has_ended;			/* the server has sent all it will */
	struct gs_tls *tls;		/* NULL: plain */
	struct gs_grpc *grpc;
	struct gs_http_answer http;
	/* packets */
	struct gs_match match;
	uint8_t nonce[16]; /* the query's id is its first two bytes */
	bool is_raw;	   /* icmp: the reply has the sender's IP header */
	/* commands */
	struct gs_exec_run *run; /* NULL: waits for others to end */
	struct probe *next_waiting;
	uint64_t held_us; /* of that waiting */
};

/* Reports and frees it. The callee may do anything: nothing of the prober is to be touched then. */
void gs_probe_finish(struct probe *probe, enum gs_probe_class result);
/* It is over before it began: reported in the next turn. */
void gs_probe_fail(struct probe *probe, enum gs_probe_class result);
/*
 * Where the probe goes: to the VIP if that is asked for and there is a way, else to the backend.
 * Its size.
 */
socklen_t gs_probe_aim(struct probe *probe, struct sockaddr_storage *address);
/* Of the socket for that address, before it is connected: on its way. 0 or -errno. */
int gs_probe_direct(const struct probe *probe, int fd);
/* Takes the probe's connection over, its fd is -1 then; or leaves it, to be closed at once. */
void gs_probe_farewell(struct probe *probe);
void gs_probe_farewells_end(struct prober *prober);
/* A socket that is non-blocking and closes by RST; or -errno. An idle one may have to go for it. */
int gs_probe_open_socket(struct prober *prober, int family);
/*
 * The same, for a probe to its target's address: one of an earlier probe, if there is one, as
 * probe->socket. Whatever happens to it is told to gs_probe_on_edge once, if it is watched; that
 * may be of the connection before.
 */
int gs_probe_socket_take(struct probe *probe, int family);
int gs_probe_socket_watch(struct probe *probe);
void gs_probe_on_edge(struct probe *probe, uint32_t epoll_events);
/* Ends its connection by RST and keeps it if the probe was good. Harmless if it has none. */
void gs_probe_socket_leave(struct probe *probe);
/* Closes what has been idle for long, a few at a time; what is kept of this backend; all. */
void gs_probe_sockets_age(struct prober *prober);
void gs_probe_sockets_cancel(struct prober *prober, gs_id backend);
void gs_probe_sockets_end(struct prober *prober);
/* Of errno: of a connect() that failed at once, of an answer. */
enum gs_probe_class gs_probe_class_of_connect(int error);
enum gs_probe_class gs_probe_class_of_answer(int error);
/* Is anything of these epoll events there? */
bool gs_probe_is_ready(const struct probe *probe, uint32_t epoll_events);

// SPDX-License-Identifier: Apache-2.0
/*
 * The store port on PostgreSQL: one asynchronous connection on the loop, one activity at a time
 * on it (made on a thread: pg_attempt.h). LISTEN comes before the first snapshot, so that no
 * revision falls between the two. A pooler is told by the process it gives: not the one that
 * serves. It may lend another connection for each transaction, and what that one hears never comes
 * here: behind one the revision is asked for. Any doubt about a connection ends it: the next one
 * starts from nothing, and what was not known to be committed is sent again under the same key.
 */
#include "user/adapters/adapters.h"
#include "user/adapters/pg_attempt.h"
#include "user/adapters/pg_connection.h"
#include "user/adapters/pg_demand.h"
#include "user/adapters/pg_latency.h"
#include "user/adapters/pg_rows.h"
#include "user/adapters/pg_votes.h"
#include "user/adapters/pg_writes.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/log.h"
#include "user/core/retry.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

enum {
	CONNECT_TIMEOUT_MS = 60000, /* of all hosts conninfo names together: 5 s each */
	ANSWER_TIMEOUT_MS = 10000,
	TICK_MS = 10000,
	TICKS_PER_SNAPSHOT = 3,
	RETRY_BASE_MS = 200,
	RETRY_CAP_MS = 10000,
	TICKS_PER_MAINTENANCE = 360, /* an hour */
	POOLED_POLL_MS = 1000,
	/* All edges may have news in the same moment, and each reads the others': a hundred of them
	 * less often than ten, or reads grow with the square of their number. */
	HEAR_GAP_MS = 100,
	HEAR_GAP_OF_EDGE_MS = 4,
};

enum activity {
	NOTHING, /* connected, and nobody waits for an answer */
	AWAY,	 /* not connected; the retry timer runs */
	CONNECTING,
	LISTENING,
	READING_BREAKERS,
	READING,
	ASKING_REVISION,
	WRITING_VOTES,
	READING_VOTES,
	WRITING_TRANSITIONS,
	WRITING_MINUTES,
	WRITING_EDGE,
	WRITING_DEMAND,
	READING_DEMAND,
	MAINTAINING,
	TELLING_LATENCY,
	TAKING_TURN,
	PUBLISHING_LATENCY,
};

struct pg {
	struct gs_loop *loop;
	char *conninfo;
	char *edge;
	char *application;
	const struct gs_store_events *events;
	void *context;

	struct gs_pg_attempt *attempt; /* CONNECTING */
	PGconn *connection;
	enum activity activity;
	struct gs_io io;
	uint32_t io_events;
	struct gs_timer retry_timer; /* AWAY: when to connect */
	struct gs_timer limit_timer; /* how long an answer may take */
	struct gs_timer tick_timer;
	struct gs_retry retry;
	uint32_t ticks;
	bool told_connected;

	/* The activity's answer so far. */
	PGresult *results[GS_PG_RESULT__COUNT];
	int result_count;
	char failure[GS_ERROR_MAX];
	char sqlstate[6];

	bool is_pooled;
	bool poll_due;
	struct gs_timer poll_timer; /* while pooled */
	bool want_snapshot;
	uint64_t heard_revision; /* while reading */
	uint64_t read_revision;
	uint64_t given_digest; /* of the snapshot in force */
	char refusal[GS_ERROR_MAX];

	bool breakers_read; /* once, before the first snapshot */
	struct gs_pg_writes writes;
	struct gs_pg_minutes minutes;
	struct gs_pg_latency latency;
	const struct gs_latency_store_events *latency_events; /* NULL: nobody listens */
	void *latency_context;
	struct gs_pg_demand demand;
	struct gs_timer demand_timer; /* when to ask for that of others */
	bool ask_demand;
	bool maintenance_due;
	bool writes_paused; /* until the next tick: the database refuses them */
	struct gs_edge_report report;
	bool edge_due;
	bool edge_is_first;
	bool has_row; /* in edges: votes hang on it */

	struct gs_pg_votes votes;
	struct gs_timer vote_timer; /* says so again */
	struct gs_timer hear_timer; /* reads what others say */
	bool vote_due, hear_due, hears_soon;
	uint64_t heard_ms; /* when it read them last */
};

static void pump(struct pg *pg);
static void on_ready(struct gs_io *io, uint32_t epoll_events);

/* ---- the connection --------------------------------------------------------------------------*/

static void clear_results(struct pg *pg)
{
	for (int r = 0; r < GS_PG_RESULT__COUNT; r++) {
		PQclear(pg->results[r]);
		pg->results[r] = NULL;
	}
	pg->result_count = 0;
	pg->failure[0] = '\0';
	pg->sqlstate[0] = '\0';
}

/* What was under way or waited: it is not known to be in the database. */
static void drop_latency(struct pg *pg, enum activity activity)
{
	bool is_publishing = activity == PUBLISHING_LATENCY || pg->latency.changes;

	gs_pg_latency_done(&pg->latency);
	if (is_publishing && pg->latency_events)
		pg->latency_events->on_published(pg->latency_context, false);
}

static void disconnect(struct pg *pg)
{
	enum activity activity = pg->activity;

	gs_loop_io_clear(pg->loop, &pg->io);
	gs_loop_timer_clear(pg->loop, &pg->limit_timer);
	gs_loop_timer_clear(pg->loop, &pg->poll_timer);
	gs_pg_attempt_abandon(pg->attempt);
	pg->attempt = NULL;
	PQfinish(pg->connection);
	pg->connection = NULL;
	pg->activity = AWAY;
	clear_results(pg);
	gs_pg_writes_refused(&pg->writes, NULL);
	gs_pg_minutes_sent(&pg->minutes, true);
	drop_latency(pg, activity);
	pg->demand.due = pg->demand.rows != NULL;
	gs_pg_votes_forget(&pg->votes);
	pg->has_row = false;
}

/* Ends the connection and tries again later. why may be of the connection that ends. */
static void lose(struct pg *pg, const char *why)
{
	char line[GS_ERROR_MAX];

	gs_pg_one_line(why && why[0] ? why : "connection lost", line, sizeof(line));
	disconnect(pg);
	gs_loop_timer_set(pg->loop, &pg->retry_timer, gs_retry_next_ms(&pg->retry));
	pg->told_connected = false;
	pg->events->on_connection(pg->context, false, line);
}

static int watch(struct pg *pg, uint32_t epoll_events)
{
	int ret;

	if (pg->io.is_set_ && pg->io_events == epoll_events)
		return 0;
	pg->io.fd = PQsocket(pg->connection);
	ret = gs_loop_io_set(pg->loop, &pg->io, epoll_events);
	pg->io_events = epoll_events;
	return ret;
}

/* What libpq could not send yet goes when the socket can take it. */
static void flush(struct pg *pg)
{
	int left = PQflush(pg->connection);

	if (left < 0 || watch(pg, left ? EPOLLIN | EPOLLOUT : EPOLLIN) != 0)
		lose(pg, PQerrorMessage(pg->connection));
}

static void begin(struct pg *pg, enum activity activity, bool was_sent)
{
	if (!was_sent) {
		lose(pg, PQerrorMessage(pg->connection));
		return;
	}
	pg->activity = activity;
	gs_loop_timer_set(pg->loop, &pg->limit_timer, ANSWER_TIMEOUT_MS);
	flush(pg);
}

static void ignore_notice(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

static void finish_connecting(struct pg *pg)
{
	gs_loop_io_clear(pg->loop, &pg->io);
	pg->connection = gs_pg_attempt_finish(pg->attempt);
	pg->attempt = NULL;
	if (!pg->connection || PQstatus(pg->connection) != CONNECTION_OK) {
		lose(pg, PQerrorMessage(pg->connection));
		return;
	}
	PQsetnonblocking(pg->connection, 1);
	PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
	begin(pg, LISTENING,
	      PQsendQuery(pg->connection,
			  "LISTEN geostream; LISTEN geostream_votes; SELECT pg_backend_pid()"));
}

static void start_connecting(struct gs_timer *timer)
{
	struct pg *pg = timer->context;
	int ret = gs_pg_attempt_start(pg->conninfo, pg->application, &pg->attempt, &pg->io.fd);

	if (ret) {
		lose(pg, strerror(-ret));
		return;
	}
	pg->activity = CONNECTING;
	gs_loop_timer_set(pg->loop, &pg->limit_timer, CONNECT_TIMEOUT_MS);
	ret = gs_loop_io_set(pg->loop, &pg->io, EPOLLIN);
	if (ret)
		lose(pg, strerror(-ret));
}

static void on_limit(struct gs_timer *timer)
{
	struct pg *pg = timer->context;

	lose(pg,
	     pg->activity == CONNECTING ? "connecting took more than 60 s" : "no answer for 10 s");
}

/* ---- snapshots -------------------------------------------------------------------------------*/

/* Multiply and fold by words, so that a change no revision told of is seen as well. */
static uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t length)
{
	const char *at = bytes;

	while (length > 0) {
		size_t step = length < sizeof(uint64_t) ? length : sizeof(uint64_t);
		uint64_t word = 0;

		memcpy(&word, at, step);
		digest = (digest ^ word) * 0x9e3779b97f4a7c15u;
		digest ^= digest >> 32;
		at += step;
		length -= step;
	}
	return digest;
}

/* The arrays were zeroed and filled member by member: padding takes part as zeros. */
static uint64_t digest_snapshot(const struct gs_snapshot *s)
{
	uint64_t digest = 0xcbf29ce484222325u;

	digest = digest_bytes(digest, &s->revision, sizeof(s->revision));
	digest = digest_bytes(digest, &s->selection_seed, sizeof(s->selection_seed));
	digest = digest_bytes(digest, s->regions, s->region_count * sizeof(*s->regions));
	digest = digest_bytes(digest, s->policies, s->policy_count * sizeof(*s->policies));
	digest = digest_bytes(digest, s->services, s->service_count * sizeof(*s->services));
	digest = digest_bytes(digest, s->backends, s->backend_count * sizeof(*s->backends));
	digest = digest_bytes(digest, s->overrides, s->override_count * sizeof(*s->overrides));
	digest = digest_bytes(digest, s->access, s->access_count * sizeof(*s->access));
	digest = digest_bytes(digest, s->fences, s->fence_count * sizeof(*s->fences));
	digest = digest_bytes(digest, s->latencies, s->latency_count * sizeof(*s->latencies));
	return digest_bytes(digest, s->forces, s->force_count * sizeof(*s->forces));
}

/* What is wrong with the rows, told once for each new text; "" once they are right again. */
static void tell_refusal(struct pg *pg, const char *why)
{
	if (strcmp(why, pg->refusal) == 0)
		return;
	snprintf(pg->refusal, sizeof(pg->refusal), "%s", why);
	if (why[0])
		gs_log(GS_LOG_ERROR, "snapshot_refused", "revision=%" PRIu64 " why=%s",
		       pg->read_revision, why);
	pg->events->on_connection(pg->context, true, why);
}

static void finish_reading(struct pg *pg)
{
	struct gs_snapshot *snapshot = NULL;
	struct gs_error error = {0};
	uint64_t digest;
	int ret;

	if (PQntuples(pg->results[GS_PG_REVISION]) > 0)
		pg->read_revision =
			strtoull(PQgetvalue(pg->results[GS_PG_REVISION], 0, 0), NULL, 10);
	pg->want_snapshot = pg->heard_revision > pg->read_revision;
	pg->heard_revision = 0;
	ret = gs_pg_rows_to_snapshot(pg->results, &snapshot, &error);
	clear_results(pg);
	gs_retry_reset(&pg->retry);
	if (ret) {
		tell_refusal(pg, error.text);
		return;
	}
	tell_refusal(pg, "");
	digest = digest_snapshot(snapshot);
	if (digest == pg->given_digest) {
		gs_snapshot_free(snapshot);
		return;
	}
	pg->given_digest = digest;
	pg->events->on_snapshot(pg->context, snapshot);
}

/* ---- poolers ---------------------------------------------------------------------------------*/

static void on_poll(struct gs_timer *timer)
{
	struct pg *pg = timer->context;

	gs_loop_timer_set(pg->loop, timer, POOLED_POLL_MS);
	pg->poll_due = true;
	pump(pg);
}

/* A pooler makes up the process it names when one connects; the one that answers is real. */
static void judge_pooler(struct pg *pg)
{
	long answers = pg->result_count == 1 && PQntuples(pg->results[0]) == 1
			       ? strtol(PQgetvalue(pg->results[0], 0, 0), NULL, 10)
			       : 0;

	clear_results(pg);
	pg->is_pooled = answers != PQbackendPID(pg->connection);
	pg->poll_due = false;
	if (pg->events->on_pooled)
		pg->events->on_pooled(pg->context, pg->is_pooled);
	if (pg->is_pooled)
		gs_loop_timer_set(pg->loop, &pg->poll_timer, POOLED_POLL_MS);
}

static void finish_asking(struct pg *pg)
{
	if (pg->result_count == 1 && PQntuples(pg->results[0]) == 1 &&
	    strtoull(PQgetvalue(pg->results[0], 0, 0), NULL, 10) != pg->read_revision)
		pg->want_snapshot = true;
	clear_results(pg);
}

/* ---- activities ------------------------------------------------------------------------------*/

/* Not if another edge did within the hour, or so: each asks by a clock of its own. */
static const char maintain_query[] =
	"SELECT CASE WHEN u.done_at NOT BETWEEN now() - interval '50 minutes'"
	" AND now() + interval '1 minute' THEN (SELECT count(*) FROM geostream.maintain()) END"
	" FROM geostream.upkeep u";

/* What is told or asked, for a log line; NULL: what an edge cannot do without. */
static const char *written(enum activity activity)
{
	switch (activity) {
	case WRITING_TRANSITIONS:
		return "transitions";
	case WRITING_MINUTES:
		return "probe minutes";
	case WRITING_EDGE:
		return "edge";
	case WRITING_DEMAND:
	case READING_DEMAND:
		return "demand";
	case WRITING_VOTES:
		return "votes";
	case READING_VOTES:
		return "others' votes";
	case MAINTAINING:
		return "partitions";
	case TELLING_LATENCY:
	case TAKING_TURN:
	case PUBLISHING_LATENCY:
		return "round trips";
	default:
		return NULL;
	}
}

static void take_result(struct pg *pg, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK &&
	    (!written(pg->activity) || pg->activity == TAKING_TURN ||
	     pg->activity == PUBLISHING_LATENCY || pg->activity == READING_DEMAND ||
	     pg->activity == WRITING_VOTES || pg->activity == READING_VOTES) &&
	    pg->result_count < GS_PG_RESULT__COUNT) {
		pg->results[pg->result_count++] = result;
		return;
	}
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && !pg->failure[0]) {
		const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

		gs_pg_one_line(PQresultErrorMessage(result), pg->failure, sizeof(pg->failure));
		snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", sqlstate ? sqlstate : "");
	}
	PQclear(result);
}

static bool is_schema_error(const char *sqlstate)
{
	return strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0 ||
	       strcmp(sqlstate, "42703") == 0;
}

static void fail_activity(struct pg *pg, enum activity activity)
{
	char why[2 * GS_ERROR_MAX];

	if (written(activity)) {
		gs_log_limited(GS_LOG_WARNING, "store_write_failed", "what=%s why=%s",
			       written(activity), pg->failure);
		if (activity == WRITING_TRANSITIONS)
			pg->writes_paused = !gs_pg_writes_refused(&pg->writes, pg->sqlstate);
		/* A minute that is refused is not worth a second try. */
		if (activity == WRITING_MINUTES)
			gs_pg_minutes_sent(&pg->minutes, false);
		clear_results(pg);
		if (activity >= TELLING_LATENCY)
			drop_latency(pg, activity);
		return;
	}
	snprintf(
		why, sizeof(why), "%s%s",
		is_schema_error(pg->sqlstate)
			? "schema missing or older than this program, run geostreamctl db migrate: "
			: "",
		pg->failure);
	lose(pg, why);
}

static void finish_breakers(struct pg *pg)
{
	GS_AUTO_FREE struct gs_breaker_record *records = NULL;
	uint32_t count = 0;

	pg->breakers_read = true;
	if (pg->result_count == 1 && gs_pg_breaker_records(pg->results[0], &records, &count) == 0 &&
	    pg->events->on_breakers)
		pg->events->on_breakers(pg->context, records, count);
	clear_results(pg);
	pg->want_snapshot = true;
}

static void finish_turn(struct pg *pg)
{
	GS_AUTO_FREE struct gs_latency_measured *measured = NULL;
	int64_t epoch;
	uint32_t count;
	int ret = pg->result_count == 1
			  ? gs_pg_latency_turn(pg->results[0], &epoch, &measured, &count)
			  : -EAGAIN;

	clear_results(pg);
	if (ret == 0 && pg->latency_events)
		pg->latency_events->on_turn(pg->latency_context, epoch, measured, count);
}

static void finish_publishing(struct pg *pg)
{
	bool is_published = pg->result_count == 1 && gs_pg_latency_is_published(pg->results[0]);

	clear_results(pg);
	if (pg->latency_events)
		pg->latency_events->on_published(pg->latency_context, is_published);
}

static void finish_demand(struct pg *pg)
{
	GS_AUTO_FREE struct gs_demand_told *rows = NULL;
	uint32_t count = 0;

	if (pg->result_count == 1 &&
	    gs_pg_demand_rows(&pg->demand, pg->results[0], &rows, &count) == 0 &&
	    pg->events->on_demand)
		pg->events->on_demand(pg->context, rows, count, pg->demand.edges);
	clear_results(pg);
}

static void finish_hearing(struct pg *pg)
{
	struct gs_ballots ballots;
	int ret = pg->result_count == 1 ? gs_pg_votes_read(&pg->votes, pg->results[0], &ballots)
					: -EINVAL;

	clear_results(pg);
	if (ret) {
		gs_log_limited(GS_LOG_WARNING, "votes_unreadable", "why=%s",
			       ret == -ENOMEM ? "out of memory" : "geostream.quorum has no row");
		return;
	}
	pg->events->on_ballots(pg->context, &ballots);
	gs_pg_ballots_done(&ballots);
}

/* Somebody has removed the edge's row: it comes again, and its votes with it. */
static void finish_voting(struct pg *pg)
{
	if (!gs_pg_votes_sent(&pg->votes, pg->result_count == 1 ? pg->results[0] : NULL)) {
		pg->has_row = false;
		pg->edge_due = true;
		pg->vote_due = true;
	}
	clear_results(pg);
}

static void finish_listening(struct pg *pg)
{
	judge_pooler(pg);
	pg->want_snapshot = true;
	pg->edge_due = true;
	pg->edge_is_first = true;
	pg->writes_paused = false;
	pg->vote_due = pg->votes.has_paper;
	pg->hear_due = pg->events->on_ballots != NULL;
}

static void finish_snapshot(struct pg *pg)
{
	if (!pg->told_connected) {
		pg->told_connected = true;
		pg->refusal[0] = '\0';
		pg->events->on_connection(pg->context, true, "");
	}
	finish_reading(pg);
}

/* What edges tell each other; of anything else the answer is only dropped. */
static void finish_exchange(struct pg *pg, enum activity activity)
{
	switch (activity) {
	case READING_DEMAND:
		finish_demand(pg);
		break;
	case TAKING_TURN:
		finish_turn(pg);
		break;
	case PUBLISHING_LATENCY:
		finish_publishing(pg);
		break;
	case WRITING_VOTES:
		finish_voting(pg);
		break;
	case READING_VOTES:
		finish_hearing(pg);
		break;
	default:
		clear_results(pg);
		break;
	}
}

static void finish_activity(struct pg *pg)
{
	enum activity activity = pg->activity;

	pg->activity = NOTHING;
	gs_loop_timer_clear(pg->loop, &pg->limit_timer);
	if (pg->failure[0] || (activity == READING && pg->result_count < GS_PG_RESULT__COUNT)) {
		fail_activity(pg, activity);
		return;
	}
	switch (activity) {
	case LISTENING:
		finish_listening(pg);
		break;
	case READING_BREAKERS:
		finish_breakers(pg);
		break;
	case READING:
		finish_snapshot(pg);
		break;
	case ASKING_REVISION:
		finish_asking(pg);
		break;
	case WRITING_TRANSITIONS:
		gs_pg_writes_committed(&pg->writes);
		clear_results(pg);
		break;
	case WRITING_MINUTES:
		gs_pg_minutes_sent(&pg->minutes, false);
		clear_results(pg);
		break;
	case WRITING_EDGE:
		pg->has_row = true;
		clear_results(pg);
		break;
	default:
		finish_exchange(pg, activity);
		break;
	}
}

/* Reading goes first: desired state has to arrive in 100 ms, what we tell can wait. */
static void pump(struct pg *pg)
{
	if (pg->activity != NOTHING)
		return;
	if (pg->want_snapshot && !pg->breakers_read) {
		begin(pg, READING_BREAKERS, gs_pg_send_breakers(pg->connection, pg->edge) == 0);
	} else if (pg->want_snapshot) {
		pg->want_snapshot = false;
		begin(pg, READING, PQsendQuery(pg->connection, gs_pg_read_query));
	} else if (pg->poll_due) {
		pg->poll_due = false;
		begin(pg, ASKING_REVISION,
		      PQsendQuery(pg->connection, "SELECT revision FROM geostream.revision"));
	} else if (pg->vote_due && pg->has_row) {
		pg->vote_due = false;
		begin(pg, WRITING_VOTES, gs_pg_votes_send(&pg->votes, pg->connection) == 0);
	} else if (pg->hear_due) {
		pg->hear_due = false;
		pg->heard_ms = gs_loop_now_ms(pg->loop);
		begin(pg, READING_VOTES, gs_pg_votes_ask(&pg->votes, pg->connection) == 0);
	} else if (pg->writes.count > 0 && !pg->writes_paused) {
		begin(pg, WRITING_TRANSITIONS, gs_pg_writes_send(&pg->writes, pg->connection) == 0);
	} else if (pg->edge_due) {
		pg->edge_due = false;
		begin(pg, WRITING_EDGE,
		      gs_pg_send_edge(pg->connection, pg->edge, &pg->report, pg->edge_is_first) ==
			      0);
		pg->edge_is_first = false;
	} else if (pg->latency.changes) {
		begin(pg, PUBLISHING_LATENCY,
		      gs_pg_latency_send_changes(&pg->latency, pg->connection) == 0);
	} else if (pg->latency.told) {
		begin(pg, TELLING_LATENCY,
		      gs_pg_latency_send_told(&pg->latency, pg->connection) == 0);
	} else if (pg->latency.turn_is_due) {
		begin(pg, TAKING_TURN, gs_pg_latency_send_turn(&pg->latency, pg->connection) == 0);
	} else if (pg->demand.due) {
		begin(pg, WRITING_DEMAND,
		      gs_pg_demand_send(&pg->demand, pg->edge, pg->connection) == 0);
	} else if (pg->ask_demand) {
		pg->ask_demand = false;
		begin(pg, READING_DEMAND, gs_pg_demand_ask(pg->edge, pg->connection) == 0);
	} else if (pg->minutes.count > 0) {
		begin(pg, WRITING_MINUTES,
		      gs_pg_minutes_send(&pg->minutes, pg->edge, pg->connection) == 0);
	} else if (pg->maintenance_due) {
		pg->maintenance_due = false;
		begin(pg, MAINTAINING, PQsendQuery(pg->connection, maintain_query));
	}
}

/* News come in bursts: what is read a moment later has all of them. */
static void hear_soon(struct pg *pg)
{
	uint64_t now_ms = gs_loop_now_ms(pg->loop);
	uint64_t due_ms = pg->heard_ms + (uint64_t)HEAR_GAP_OF_EDGE_MS * pg->votes.known_count;

	if (pg->hears_soon)
		return;
	pg->hears_soon = true;
	if (due_ms < now_ms + HEAR_GAP_MS)
		due_ms = now_ms + HEAR_GAP_MS;
	gs_loop_timer_set(pg->loop, &pg->hear_timer, (uint32_t)(due_ms - now_ms));
}

static void take_notifications(struct pg *pg)
{
	PGnotify *notify;

	while ((notify = PQnotifies(pg->connection))) {
		uint64_t revision = strtoull(notify->extra, NULL, 10);

		if (strcmp(notify->relname, "geostream_votes") == 0) {
			if (strcmp(notify->extra, pg->edge) != 0)
				hear_soon(pg);
			PQfreemem(notify);
			continue;
		}
		/* What is being read now may be older, or hold it already. */
		if (pg->activity == READING)
			pg->heard_revision = revision;
		else if (revision != pg->read_revision)
			pg->want_snapshot = true;
		PQfreemem(notify);
	}
}

static bool has_answer(const struct pg *pg)
{
	return pg->activity >= LISTENING && !PQisBusy(pg->connection);
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct pg *pg = io->context;

	(void)epoll_events;
	if (pg->activity == CONNECTING) {
		finish_connecting(pg);
		return;
	}
	if (!PQconsumeInput(pg->connection) || PQstatus(pg->connection) != CONNECTION_OK) {
		lose(pg, PQerrorMessage(pg->connection));
		return;
	}
	flush(pg);
	while (has_answer(pg)) {
		PGresult *result = PQgetResult(pg->connection);

		if (result) {
			take_result(pg, result);
			continue;
		}
		if (PQstatus(pg->connection) != CONNECTION_OK) {
			lose(pg, PQerrorMessage(pg->connection));
			return;
		}
		finish_activity(pg);
	}
	if (!pg->connection)
		return;
	take_notifications(pg);
	pump(pg);
}

static void on_tick(struct gs_timer *timer)
{
	struct pg *pg = timer->context;

	gs_loop_timer_set(pg->loop, &pg->tick_timer, TICK_MS);
	if (!pg->told_connected)
		return;
	pg->edge_due = true;
	pg->writes_paused = false;
	if (++pg->ticks % TICKS_PER_SNAPSHOT == 0)
		pg->want_snapshot = true;
	if (pg->ticks % TICKS_PER_MAINTENANCE == 0)
		pg->maintenance_due = true;
	pump(pg);
}

static void on_demand_due(struct gs_timer *timer)
{
	struct pg *pg = timer->context;

	gs_loop_timer_set(pg->loop, timer, gs_pg_demand_pause_ms(&pg->demand));
	if (!pg->told_connected)
		return;
	pg->ask_demand = true;
	pump(pg);
}

/* ---- votes -----------------------------------------------------------------------------------*/

static void on_vote(struct gs_timer *timer)
{
	struct pg *pg = timer->context;

	gs_loop_timer_set(pg->loop, timer, GS_VOTE_EVERY_MS);
	if (!pg->told_connected)
		return;
	pg->vote_due = pg->votes.has_paper;
	pump(pg);
}

static void on_hear(struct gs_timer *timer)
{
	struct pg *pg = timer->context;

	pg->hears_soon = false;
	gs_loop_timer_set(pg->loop, timer, GS_VOTE_EVERY_MS);
	if (!pg->told_connected || !pg->events->on_ballots)
		return;
	pg->hear_due = true;
	pump(pg);
}

static void vote(void *self, const struct gs_ballot_paper *paper)
{
	struct pg *pg = self;

	if (gs_pg_votes_take(&pg->votes, paper)) {
		gs_log_limited(GS_LOG_ERROR, "votes_kept", "why=%s", "out of memory");
		return;
	}
	if (!gs_pg_votes_is_news(&pg->votes))
		return;
	pg->vote_due = true;
	pump(pg);
}

/* ---- the port --------------------------------------------------------------------------------*/

static int start(void *self, const struct gs_store_events *events, void *context)
{
	struct pg *pg = self;
	int ret;

	pg->events = events;
	pg->context = context;
	pg->maintenance_due = true; /* an edge may be restarted more often than hourly */
	ret = gs_loop_timer_set(pg->loop, &pg->tick_timer, TICK_MS);
	if (!ret)
		ret = gs_loop_timer_set(pg->loop, &pg->vote_timer, GS_VOTE_EVERY_MS);
	if (!ret)
		ret = gs_loop_timer_set(pg->loop, &pg->hear_timer, GS_VOTE_EVERY_MS);
	return ret ? ret : gs_loop_timer_set(pg->loop, &pg->retry_timer, 0);
}

static void record_transition(void *self, const struct gs_transition *transition)
{
	struct pg *pg = self;

	gs_pg_writes_add(&pg->writes, transition);
	pump(pg);
}

static void record_probes(void *self, const struct gs_probe_minute *minutes, uint32_t count)
{
	struct pg *pg = self;

	gs_pg_minutes_add(&pg->minutes, minutes, count);
	pump(pg);
}

static void report_edge(void *self, const struct gs_edge_report *report)
{
	struct pg *pg = self;

	pg->report = *report;
	pg->edge_due = true;
	pump(pg);
}

static void start_latency(void *self, const struct gs_latency_store_events *events, void *context)
{
	struct pg *pg = self;

	pg->latency_events = events;
	pg->latency_context = context;
}

static bool exchange_latency(void *self, const struct gs_latency_told *rows, uint32_t count,
			     uint32_t period_ms)
{
	struct pg *pg = self;
	bool is_under_way = pg->activity >= TELLING_LATENCY;

	if (!pg->told_connected || is_under_way || gs_pg_latency_is_busy(&pg->latency))
		return false;
	if (count > 0 && gs_pg_latency_tell(&pg->latency, rows, count) != 0)
		return false;
	pg->latency.period_ms = period_ms;
	pg->latency.turn_is_due = period_ms > 0;
	pump(pg);
	return true;
}

static void publish_latency(void *self, int64_t epoch, const struct gs_latency_step *step,
			    const struct gs_latency_change *changes, uint32_t count)
{
	struct pg *pg = self;

	if (!pg->told_connected ||
	    gs_pg_latency_change(&pg->latency, epoch, step, changes, count) != 0) {
		pg->latency_events->on_published(pg->latency_context, false);
		return;
	}
	pump(pg);
}

static void report_demand(void *self, const struct gs_demand_told *rows, uint32_t count)
{
	struct pg *pg = self;
	bool is_first = !pg->demand.rows;

	gs_pg_demand_set(&pg->demand, rows, count);
	if (is_first)
		gs_loop_timer_set(pg->loop, &pg->demand_timer, 1);
	pump(pg);
}

static void close_store(void *self)
{
	struct pg *pg = self;

	pg->latency_events = NULL;
	disconnect(pg);
	gs_loop_timer_clear(pg->loop, &pg->retry_timer);
	gs_loop_timer_clear(pg->loop, &pg->tick_timer);
	gs_loop_timer_clear(pg->loop, &pg->demand_timer);
	gs_pg_demand_done(&pg->demand);
	gs_loop_timer_clear(pg->loop, &pg->vote_timer);
	gs_loop_timer_clear(pg->loop, &pg->hear_timer);
	gs_pg_votes_done(&pg->votes);
	gs_pg_writes_done(&pg->writes);
	gs_pg_minutes_done(&pg->minutes);
	free(pg->conninfo);
	free(pg->edge);
	free(pg->application);
	free(pg);
}

static uint64_t random_seed(void)
{
	uint64_t seed;

	return getrandom(&seed, sizeof(seed), 0) == sizeof(seed) ? seed : gs_now_us();
}

int gs_pg_open(struct gs_loop *loop, const char *conninfo, const char *edge,
	       struct gs_store *ret_store, struct gs_error *error)
{
	static const struct gs_store_ops ops = {
		.start = start,
		.record_transition = record_transition,
		.record_probes = record_probes,
		.report_edge = report_edge,
		.report_demand = report_demand,
		.vote = vote,
		.close = close_store,
	};
	struct pg *pg;
	int ret = gs_pg_check_conninfo(conninfo, error);

	if (ret)
		return ret;
	pg = calloc(1, sizeof(*pg));
	if (!pg)
		return gs_error_set(-ENOMEM, error, "database: no memory");
	pg->loop = loop;
	pg->activity = AWAY;
	pg->conninfo = strdup(conninfo);
	pg->edge = strdup(edge);
	if (asprintf(&pg->application, "geostream:%s", edge) < 0)
		pg->application = NULL;
	pg->io = (struct gs_io){.fd = -1, .on_ready = on_ready, .context = pg};
	pg->retry_timer = (struct gs_timer){.on_due = start_connecting, .context = pg};
	pg->limit_timer = (struct gs_timer){.on_due = on_limit, .context = pg};
	pg->tick_timer = (struct gs_timer){.on_due = on_tick, .context = pg};
	pg->poll_timer = (struct gs_timer){.on_due = on_poll, .context = pg};
	pg->demand_timer = (struct gs_timer){.on_due = on_demand_due, .context = pg};
	pg->vote_timer = (struct gs_timer){.on_due = on_vote, .context = pg};
	pg->hear_timer = (struct gs_timer){.on_due = on_hear, .context = pg};
	gs_retry_init(&pg->retry, RETRY_BASE_MS, RETRY_CAP_MS, random_seed());
	gs_pg_writes_init(&pg->writes, pg->edge);
	pg->latency.edge = pg->edge;
	gs_pg_votes_init(&pg->votes, pg->edge);
	/* Edges that start together keep house at different times. */
	pg->ticks = (uint32_t)(random_seed() % (TICKS_PER_MAINTENANCE / TICKS_PER_SNAPSHOT)) *
		    TICKS_PER_SNAPSHOT;
	if (!pg->conninfo || !pg->edge || !pg->application) {
		close_store(pg);
		return gs_error_set(-ENOMEM, error, "database: no memory");
	}
	*ret_store = (struct gs_store){.ops = &ops, .self = pg};
	return 0;
}

struct gs_latency_store gs_pg_latency_store(const struct gs_store *store)
{
	static const struct gs_latency_store_ops ops = {
		.start = start_latency,
		.exchange = exchange_latency,
		.publish = publish_latency,
	};

	return (struct gs_latency_store){.ops = &ops, .self = store->self};
}

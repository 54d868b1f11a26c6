// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_votes.h"

#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One statement: the edge still votes so, by this database's clock; what is otherwise than it was;
 * with $6 what it does not speak of any more; with $7 others are told.
 */
static const char write_query[] =
	"WITH edge AS (UPDATE geostream.edges SET site = $2, self = $3, self_why = $4,"
	" voted_at = clock_timestamp(), vote_seq = vote_seq + 1,"
	" vote_whole_seq = CASE WHEN $6::boolean THEN vote_seq + 1 ELSE vote_whole_seq END"
	" WHERE name = $1 RETURNING vote_seq),"
	" told AS (SELECT * FROM jsonb_to_recordset($5::jsonb) AS t(s int, r int, v text)),"
	" gone AS (DELETE FROM geostream.votes v USING edge WHERE $6::boolean AND v.edge = $1"
	" AND NOT EXISTS (SELECT FROM told WHERE told.s = v.service AND told.r = v.region)),"
	" held AS (INSERT INTO geostream.votes AS h (edge, service, region, vote, seq)"
	" SELECT $1, s, r, v, vote_seq FROM told, edge ON CONFLICT ON CONSTRAINT votes_pkey"
	" DO UPDATE SET since = CASE WHEN h.vote = EXCLUDED.vote THEN h.since"
	" ELSE EXCLUDED.since END, vote = EXCLUDED.vote, seq = EXCLUDED.seq)"
	" SELECT vote_seq, CASE WHEN $7::boolean THEN pg_notify('geostream_votes', $1)::text END"
	" FROM edge";

/* $2: {edge: what was read of it last}. Whoever has not voted for an hour is none of us. */
static const char read_query[] =
	"SELECT q.down_permille, e.* FROM geostream.quorum q LEFT JOIN ("
	"SELECT left(name, 64), site, self, self_why, vote_seq,"
	" greatest(0, least(4000000, extract(epoch FROM clock_timestamp() - voted_at) * 1000))"
	"::bigint, left(version, 31), generation, revision, digest, geo_digest, selection_seed, is_whole,"
	" (SELECT string_agg(service || ' ' || region || ' ' || CASE vote WHEN 'up' THEN 'u'"
	" WHEN 'down' THEN 'd' WHEN 'region' THEN '=' ELSE '?' END, ',')"
	" FROM geostream.votes v WHERE v.edge = name AND (is_whole OR v.seq > known))"
	" FROM (SELECT *, known IS NULL OR known < vote_whole_seq OR known > vote_seq AS is_whole"
	" FROM (SELECT *, ($2::jsonb ->> name)::bigint AS known FROM geostream.edges"
	" WHERE name <> $1 AND voted_at > clock_timestamp() - interval '1 hour'"
	" ORDER BY name LIMIT 256) AS near) AS judged) AS e ON true";

enum column {
	DOWN_PERMILLE,
	NAME,
	SITE,
	SELF,
	SELF_WHY,
	SEQ,
	AGE_MS,
	VERSION,
	GENERATION,
	REVISION,
	DIGEST,
	GEO_DIGEST,
	SEED,
	IS_WHOLE,
	VOTES,
	COLUMN__COUNT
};

/* ---- papers ----------------------------------------------------------------------------------*/

static void paper_done(struct gs_pg_paper *paper)
{
	free(paper->votes);
	*paper = (struct gs_pg_paper){.count = 0};
}

static int paper_copy(struct gs_pg_paper *to, const struct gs_pg_paper *from)
{
	struct gs_edge_vote *votes = calloc(from->count + 1u, sizeof(*votes));

	if (!votes)
		return -ENOMEM;
	if (from->count > 0)
		memcpy(votes, from->votes, from->count * sizeof(*votes));
	free(to->votes);
	*to = *from;
	to->votes = votes;
	return 0;
}

void gs_pg_votes_init(struct gs_pg_votes *votes, const char *edge)
{
	*votes = (struct gs_pg_votes){.edge = edge};
}

void gs_pg_votes_done(struct gs_pg_votes *votes)
{
	paper_done(&votes->wanted);
	paper_done(&votes->sent);
	paper_done(&votes->written);
}

void gs_pg_votes_forget(struct gs_pg_votes *votes)
{
	votes->is_written = false;
	votes->known_count = 0;
}

int gs_pg_votes_take(struct gs_pg_votes *votes, const struct gs_ballot_paper *paper)
{
	struct gs_pg_paper taken = {.votes = (struct gs_edge_vote *)paper->votes,
				    .count = paper->count};

	snprintf(taken.site, sizeof(taken.site), "%s", paper->site);
	snprintf(taken.self, sizeof(taken.self), "%s", paper->self);
	snprintf(taken.self_why, sizeof(taken.self_why), "%s", paper->self_why);
	if (paper_copy(&votes->wanted, &taken))
		return -ENOMEM;
	votes->has_paper = true;
	return 0;
}

/* ---- what differs ----------------------------------------------------------------------------*/

static int compare(const struct gs_edge_vote *a, const struct gs_edge_vote *b)
{
	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

static json_t *row(gs_id service, gs_id region, const char *vote)
{
	return json_pack("{s:i, s:i, s:s}", "s", (int)service, "r", (int)region, "v", vote);
}

/* What is no longer there: a service's vote is its region's again. */
static void add_gone(json_t *rows, const struct gs_edge_vote *was)
{
	json_array_append_new(rows, row(was->service, was->region,
					was->service ? "region" : gs_vote_name(GS_VOTE_UNKNOWN)));
}

static void add_vote(json_t *rows, const struct gs_edge_vote *is)
{
	json_array_append_new(rows, row(is->service, is->region, gs_vote_name(is->vote)));
}

/* Rows that make `from` into `to`. */
static json_t *difference(const struct gs_pg_paper *from, const struct gs_pg_paper *to)
{
	json_t *rows = json_array();
	uint32_t i = 0, j = 0;

	while (i < from->count && j < to->count) {
		int order = compare(&from->votes[i], &to->votes[j]);

		if (order < 0)
			add_gone(rows, &from->votes[i]);
		else if (order > 0 || from->votes[i].vote != to->votes[j].vote)
			add_vote(rows, &to->votes[j]);
		i += order <= 0;
		j += order >= 0;
	}
	for (; i < from->count; i++)
		add_gone(rows, &from->votes[i]);
	for (; j < to->count; j++)
		add_vote(rows, &to->votes[j]);
	return rows;
}

static bool same_self(const struct gs_pg_paper *a, const struct gs_pg_paper *b)
{
	return strcmp(a->site, b->site) == 0 && strcmp(a->self, b->self) == 0 &&
	       strcmp(a->self_why, b->self_why) == 0;
}

bool gs_pg_votes_is_news(const struct gs_pg_votes *votes)
{
	if (!votes->has_paper)
		return false;
	if (!votes->is_written || !same_self(&votes->wanted, &votes->written) ||
	    votes->wanted.count != votes->written.count)
		return true;
	for (uint32_t i = 0; i < votes->wanted.count; i++)
		if (compare(&votes->wanted.votes[i], &votes->written.votes[i]) != 0 ||
		    votes->wanted.votes[i].vote != votes->written.votes[i].vote)
			return true;
	return false;
}

/* ---- writing ---------------------------------------------------------------------------------*/

int gs_pg_votes_send(struct gs_pg_votes *votes, PGconn *connection)
{
	const struct gs_pg_paper nothing = {.count = 0};
	const char *is_whole = votes->is_written ? "f" : "t";
	const char *is_news = gs_pg_votes_is_news(votes) ? "t" : "f";
	json_t *rows = difference(votes->is_written ? &votes->written : &nothing, &votes->wanted);
	GS_AUTO_FREE char *text = rows ? json_dumps(rows, JSON_COMPACT) : NULL;
	const char *values[] = {votes->edge,
				votes->wanted.site,
				votes->wanted.self,
				votes->wanted.self_why,
				text,
				is_whole,
				is_news};

	json_decref(rows);
	if (!text || paper_copy(&votes->sent, &votes->wanted))
		return -ENOMEM;
	return PQsendQueryParams(connection, write_query, ARRAY_SIZE(values), NULL, values, NULL,
				 NULL, 0)
		       ? 0
		       : -EIO;
}

bool gs_pg_votes_sent(struct gs_pg_votes *votes, const PGresult *result)
{
	struct gs_pg_paper before = votes->written;

	if (!result || PQntuples(result) == 0) {
		gs_pg_votes_forget(votes);
		return false;
	}
	votes->written = votes->sent;
	votes->sent = before;
	votes->is_written = true;
	return true;
}

/* ---- reading ---------------------------------------------------------------------------------*/

int gs_pg_votes_ask(struct gs_pg_votes *votes, PGconn *connection)
{
	json_t *known = json_object();
	GS_AUTO_FREE char *text = NULL;
	const char *values[2] = {votes->edge};

	for (uint32_t i = 0; known && i < votes->known_count; i++)
		json_object_set_new(known, votes->known[i].edge,
				    json_integer((json_int_t)votes->known[i].seq));
	text = known ? json_dumps(known, JSON_COMPACT) : NULL;
	json_decref(known);
	if (!text)
		return -ENOMEM;
	values[1] = text;
	return PQsendQueryParams(connection, read_query, 2, NULL, values, NULL, NULL, 0) ? 0 : -EIO;
}

static enum gs_vote read_vote(char letter)
{
	switch (letter) {
	case 'u':
		return GS_VOTE_UP;
	case 'd':
		return GS_VOTE_DOWN;
	case '=':
		return GS_VOTE__COUNT;
	default:
		return GS_VOTE_UNKNOWN;
	}
}

/* "12 3 d,0 3 u". 0 or -ENOMEM; what makes no sense ends it. */
static int read_votes(const char *text, struct gs_edge_ballot *ballot)
{
	uint32_t room = 1;

	for (const char *at = text; *at; at++)
		room += *at == ',';
	ballot->votes = calloc(room, sizeof(*ballot->votes));
	if (!ballot->votes)
		return -ENOMEM;
	while (*text && ballot->count < room) {
		char *end;
		unsigned long service = strtoul(text, &end, 10);
		unsigned long region = strtoul(end, &end, 10);

		if (service > GS_ID_MAX_SERVICE || region == 0 || region > GS_ID_MAX_REGION ||
		    end[0] != ' ' || !end[1])
			break;
		ballot->votes[ballot->count++] = (struct gs_edge_vote){
			.service = (gs_id)service,
			.region = (gs_id)region,
			.vote = read_vote(end[1]),
		};
		text = end + 2;
		text += *text == ',';
	}
	return 0;
}

/* Cut to fit; what is no clean text is "?". */
static void read_text(const PGresult *result, int at, enum column column, char *out, size_t size)
{
	snprintf(out, size, "%s", PQgetvalue(result, at, column));
	if (!gs_text_is_valid(out, size - 1))
		snprintf(out, size, "?");
}

static uint64_t read_number(const PGresult *result, int at, enum column column)
{
	return (uint64_t)strtoll(PQgetvalue(result, at, column), NULL, 10);
}

static int read_edge(const PGresult *result, int at, struct gs_edge_ballot *ballot)
{
	*ballot = (struct gs_edge_ballot){
		.seq = read_number(result, at, SEQ),
		.age_ms = (uint32_t)read_number(result, at, AGE_MS),
		.generation = read_number(result, at, GENERATION),
		.revision = read_number(result, at, REVISION),
		.digest = read_number(result, at, DIGEST),
		.geo_digest = read_number(result, at, GEO_DIGEST),
		.selection_seed = read_number(result, at, SEED),
		.is_whole = strcmp(PQgetvalue(result, at, IS_WHOLE), "t") == 0,
	};
	read_text(result, at, NAME, ballot->edge, sizeof(ballot->edge));
	read_text(result, at, SITE, ballot->site, sizeof(ballot->site));
	read_text(result, at, VERSION, ballot->version, sizeof(ballot->version));
	read_text(result, at, SELF, ballot->self, sizeof(ballot->self));
	read_text(result, at, SELF_WHY, ballot->self_why, sizeof(ballot->self_why));
	ballot->is_new = ballot->is_whole || !PQgetisnull(result, at, VOTES);
	return ballot->is_new ? read_votes(PQgetvalue(result, at, VOTES), ballot) : 0;
}

void gs_pg_ballots_done(struct gs_ballots *ballots)
{
	for (uint32_t i = 0; i < ballots->count; i++)
		free(ballots->edges[i].votes);
	free(ballots->edges);
	*ballots = (struct gs_ballots){.count = 0};
}

static void note_known(struct gs_pg_votes *votes, const struct gs_ballots *ballots)
{
	votes->known_count = 0;
	for (uint32_t i = 0; i < ballots->count; i++) {
		struct gs_pg_known *known = &votes->known[votes->known_count++];

		memcpy(known->edge, ballots->edges[i].edge, sizeof(known->edge));
		known->seq = ballots->edges[i].seq;
	}
}

static void read_rule(const PGresult *result, struct gs_quorum_rule *ret_rule)
{
	long permille = strtol(PQgetvalue(result, 0, DOWN_PERMILLE), NULL, 10);

	ret_rule->down_permille = GS_QUORUM_DOWN_PERMILLE;
	if (permille >= GS_QUORUM_DOWN_PERMILLE_MIN && permille <= GS_QUORUM_DOWN_PERMILLE_MAX)
		ret_rule->down_permille = (uint16_t)permille;
}

int gs_pg_votes_read(struct gs_pg_votes *votes, const PGresult *result,
		     struct gs_ballots *ret_ballots)
{
	struct gs_ballots ballots = {.count = 0};
	int rows = PQntuples(result), ret = 0;

	if (rows == 0 || PQnfields(result) != COLUMN__COUNT)
		return -EINVAL; /* the row of the rule is missing */
	ballots.edges = calloc((size_t)rows, sizeof(*ballots.edges));
	if (!ballots.edges)
		return -ENOMEM;
	read_rule(result, &ballots.rule);
	for (int i = 0; i < rows && !ret; i++) {
		if (PQgetisnull(result, i, NAME) || PQgetlength(result, i, NAME) >= GS_NAME_MAX)
			continue;
		if (ballots.count == GS_VOTERS_MAX - 1)
			ballots.left_out++;
		else
			ret = read_edge(result, i, &ballots.edges[ballots.count++]);
	}
	if (ret) {
		gs_pg_ballots_done(&ballots);
		return ret;
	}
	note_known(votes, &ballots);
	*ret_ballots = ballots;
	return 0;
}

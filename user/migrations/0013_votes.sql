-- SPDX-License-Identifier: Apache-2.0
-- Many vantages: edges register with their failure domain, vote on what they see, and say whether
-- they trust themselves. Told, never desired: no revision comes of it.

ALTER TABLE geostream.edges
	ADD COLUMN site text NOT NULL DEFAULT ''
		CONSTRAINT edges_site CHECK (octet_length(site) <= 63 AND site !~ '[[:cntrl:]]'),
	ADD COLUMN geo_digest bigint NOT NULL DEFAULT 0,
	ADD COLUMN selection_seed bigint NOT NULL DEFAULT 0,
	ADD COLUMN self text NOT NULL DEFAULT ''
		CONSTRAINT edges_self CHECK (octet_length(self) <= 63),
	ADD COLUMN self_why text NOT NULL DEFAULT ''
		CONSTRAINT edges_self_why CHECK (octet_length(self_why) <= 95),
	ADD COLUMN voted_at timestamptz,
	ADD COLUMN vote_seq bigint NOT NULL
		DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
	ADD COLUMN vote_whole_seq bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN geostream.edges.site IS
	'the edge''s failure domain, as geostream.conf has it: what is at one site, or behind one transit, fails together; empty: not told';
COMMENT ON COLUMN geostream.edges.geo_digest IS
	'of the compiled GeoIP database; edges of equal ones locate alike (64 bits, signed here; 0: none)';
COMMENT ON COLUMN geostream.edges.selection_seed IS 'the one it draws by';
COMMENT ON COLUMN geostream.edges.self IS
	'whether it trusts what it sees: well, or why not; empty: it does not vote';
COMMENT ON COLUMN geostream.edges.voted_at IS
	'written every 2 s, by this database''s clock; its votes are believed for 6 s';
COMMENT ON COLUMN geostream.edges.vote_seq IS
	'of its votes, only grows; begins with the time, so that an edge that is removed and comes again goes on above what others have read';
COMMENT ON COLUMN geostream.edges.vote_whole_seq IS
	'when it last wrote all of them: what was read before that is read again';
COMMENT ON CONSTRAINT edges_site ON geostream.edges IS
	'a site is up to 63 bytes without control characters';

CREATE TABLE geostream.votes (
	edge text NOT NULL
		CONSTRAINT votes_edge_fkey REFERENCES geostream.edges (name) ON DELETE CASCADE,
	service integer NOT NULL CONSTRAINT votes_service CHECK (service BETWEEN 0 AND 1023),
	region integer NOT NULL CONSTRAINT votes_region CHECK (region BETWEEN 1 AND 255),
	vote text NOT NULL
		CONSTRAINT votes_vote CHECK (vote IN ('up', 'down', 'unknown', 'region')),
	seq bigint NOT NULL CONSTRAINT votes_seq_positive CHECK (seq > 0),
	since timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT votes_pkey PRIMARY KEY (edge, service, region),
	CONSTRAINT votes_of_regions CHECK (service <> 0 OR vote <> 'region')
);
CREATE INDEX votes_seq ON geostream.votes (edge, seq);
COMMENT ON TABLE geostream.votes IS
	'what each edge says of each region, and of a service there where that is otherwise; written when it changes';
COMMENT ON COLUMN geostream.votes.service IS
	'id, which rests for a day when its service is removed; 0: the region as a whole';
COMMENT ON COLUMN geostream.votes.vote IS
	'up, down, unknown; region: of a service, the same as its region''s again';
COMMENT ON COLUMN geostream.votes.seq IS 'edges.vote_seq when it was written';
COMMENT ON CONSTRAINT votes_vote ON geostream.votes IS
	'a vote is up, down or unknown, and of a service also region';
COMMENT ON CONSTRAINT votes_of_regions ON geostream.votes IS
	'a region''s own vote is up, down or unknown';

CREATE TABLE geostream.quorum (
	only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT quorum_only_row CHECK (only_row),
	down_permille integer NOT NULL DEFAULT 500
		CONSTRAINT quorum_down_permille CHECK (down_permille BETWEEN 180 AND 1000)
);
COMMENT ON TABLE geostream.quorum IS
	'how many of the failure domains it takes: UPDATE geostream.quorum SET down_permille = 660';
COMMENT ON COLUMN geostream.quorum.down_permille IS
	'a region is down for all with more than this share of the domains, or with every one of them';
COMMENT ON CONSTRAINT quorum_down_permille ON geostream.quorum IS
	'a quorum is 180 to 1000 per mille of the domains';
INSERT INTO geostream.quorum DEFAULT VALUES;

-- ---- breakers --------------------------------------------------------------------------------------
ALTER TABLE geostream.services
	ADD COLUMN breaker_slow_ms integer NOT NULL DEFAULT 0
		CONSTRAINT services_breaker_slow_ms CHECK (breaker_slow_ms BETWEEN 0 AND 60000),
	ADD COLUMN breaker_slow_percent integer NOT NULL DEFAULT 80
		CONSTRAINT services_breaker_slow_percent CHECK (breaker_slow_percent BETWEEN 1 AND 100);
COMMENT ON COLUMN geostream.services.breaker_slow_ms IS
	'a handshake, or a probe, that takes longer is slow; 0: none is';
COMMENT ON COLUMN geostream.services.breaker_slow_percent IS
	'so many of them slow within 10 s: its breaker opens';
COMMENT ON CONSTRAINT services_breaker_slow_ms ON geostream.services IS
	'a breaker''s slow_ms is 0 (none) to 60000';
COMMENT ON CONSTRAINT services_breaker_slow_percent ON geostream.services IS
	'a breaker''s slow ratio is 1 to 100 per cent';

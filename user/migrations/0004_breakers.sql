-- SPDX-License-Identifier: Apache-2.0
-- Circuit breakers: what a service's are set to, what operators force, what edges last saw; and who
-- changed something.

-- Who makes a change: what the client says of itself (SET geostream.actor), else the role it
-- connected as. A claim; the audit keeps the role beside it.
CREATE FUNCTION geostream.actor() RETURNS text
LANGUAGE sql STABLE
RETURN left(regexp_replace(
	coalesce(nullif(current_setting('geostream.actor', true), ''), session_user::text),
	'[[:cntrl:]]', '?', 'g'), 63);
COMMENT ON FUNCTION geostream.actor() IS
	'who makes a change: what the client says (SET geostream.actor), else its role';

ALTER TABLE geostream.revision ADD COLUMN changed_as text NOT NULL DEFAULT '';
COMMENT ON COLUMN geostream.revision.changed_as IS 'who made this revision, as they said';

CREATE OR REPLACE FUNCTION geostream.bump_revision() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	bumped bigint;
BEGIN
	UPDATE geostream.revision
	SET revision = revision + 1, changed_by = pg_current_xact_id(), changed_at = clock_timestamp(),
		changed_as = geostream.actor()
	WHERE changed_by IS DISTINCT FROM pg_current_xact_id()
	RETURNING revision INTO bumped;
	IF FOUND THEN
		PERFORM pg_notify('geostream', bumped::text);
	END IF;
END $$;

-- ---- what the breakers of a service are set to ---------------------------------------------------
ALTER TABLE geostream.services
	ADD COLUMN breaker_enabled boolean NOT NULL DEFAULT true,
	ADD COLUMN breaker_min_volume integer NOT NULL DEFAULT 20
		CONSTRAINT services_breaker_min_volume CHECK (breaker_min_volume BETWEEN 1 AND 1000000),
	ADD COLUMN breaker_failure_percent integer NOT NULL DEFAULT 50
		CONSTRAINT services_breaker_failure_percent CHECK (breaker_failure_percent BETWEEN 1 AND 100),
	ADD COLUMN breaker_consecutive integer NOT NULL DEFAULT 5
		CONSTRAINT services_breaker_consecutive CHECK (breaker_consecutive BETWEEN 0 AND 100),
	ADD COLUMN breaker_open_ms integer NOT NULL DEFAULT 2000
		CONSTRAINT services_breaker_open CHECK (breaker_open_ms BETWEEN 100 AND 3600000),
	ADD COLUMN breaker_open_max_ms integer NOT NULL DEFAULT 60000
		CONSTRAINT services_breaker_open_max CHECK (breaker_open_max_ms BETWEEN 100 AND 3600000),
	ADD COLUMN breaker_trials integer NOT NULL DEFAULT 10
		CONSTRAINT services_breaker_trials CHECK (breaker_trials BETWEEN 1 AND 10000),
	ADD COLUMN breaker_successes integer NOT NULL DEFAULT 4
		CONSTRAINT services_breaker_successes CHECK (breaker_successes BETWEEN 1 AND 100),
	ADD COLUMN breaker_ramp_ms integer NOT NULL DEFAULT 4000
		CONSTRAINT services_breaker_ramp CHECK (breaker_ramp_ms BETWEEN 0 AND 3600000),
	ADD CONSTRAINT services_breaker_open_order CHECK (breaker_open_max_ms >= breaker_open_ms);
COMMENT ON COLUMN geostream.services.breaker_enabled IS 'false: the breakers of its pools stay closed';
COMMENT ON COLUMN geostream.services.breaker_min_volume IS
	'results within 10 s before the failure ratio counts';
COMMENT ON COLUMN geostream.services.breaker_failure_percent IS 'of those results: it opens';
COMMENT ON COLUMN geostream.services.breaker_consecutive IS
	'connection failures in a row: it opens; 0: never for that';
COMMENT ON COLUMN geostream.services.breaker_open_ms IS
	'how long at most the first time; doubles each time, drawn at random from 1 to that';
COMMENT ON COLUMN geostream.services.breaker_open_max_ms IS 'never longer';
COMMENT ON COLUMN geostream.services.breaker_trials IS 'new flows let through while half open';
COMMENT ON COLUMN geostream.services.breaker_successes IS 'good results while half open: it closes';
COMMENT ON COLUMN geostream.services.breaker_ramp_ms IS 'from closing to all new flows; 0: at once';
COMMENT ON CONSTRAINT services_breaker_min_volume ON geostream.services IS
	'a breaker''s volume is 1 to 1000000 results';
COMMENT ON CONSTRAINT services_breaker_failure_percent ON geostream.services IS
	'a breaker''s failure ratio is 1 to 100 per cent';
COMMENT ON CONSTRAINT services_breaker_consecutive ON geostream.services IS
	'a breaker''s connection failures in a row are 0 (never) to 100';
COMMENT ON CONSTRAINT services_breaker_open ON geostream.services IS
	'a breaker''s first open time is 100 to 3600000 ms';
COMMENT ON CONSTRAINT services_breaker_open_max ON geostream.services IS
	'a breaker''s longest open time is 100 to 3600000 ms';
COMMENT ON CONSTRAINT services_breaker_open_order ON geostream.services IS
	'a breaker''s longest open time is no shorter than its first';
COMMENT ON CONSTRAINT services_breaker_trials ON geostream.services IS
	'a breaker''s trials are 1 to 10000 new flows';
COMMENT ON CONSTRAINT services_breaker_successes ON geostream.services IS
	'a breaker closes after 1 to 100 good results';
COMMENT ON CONSTRAINT services_breaker_ramp ON geostream.services IS
	'a breaker''s ramp is 0 to 3600000 ms';

-- ---- what operators force ------------------------------------------------------------------------
CREATE TABLE geostream.breaker_forces (
	service text COLLATE "C" NOT NULL CONSTRAINT breaker_forces_service_fkey
		REFERENCES geostream.services (name) ON UPDATE CASCADE ON DELETE CASCADE,
	region text COLLATE "C" NOT NULL CONSTRAINT breaker_forces_region_fkey
		REFERENCES geostream.regions (name) ON UPDATE CASCADE ON DELETE CASCADE,
	edge text COLLATE "C" NOT NULL DEFAULT ''
		CONSTRAINT breaker_forces_edge CHECK (octet_length(edge) <= 63 AND edge !~ '[[:cntrl:]]'),
	state text NOT NULL CONSTRAINT breaker_forces_state CHECK (state IN ('open', 'closed')),
	expires_at timestamptz NOT NULL
		CONSTRAINT breaker_forces_expires CHECK (expires_at <= created_at + interval '7 days'
			AND expires_at > created_at),
	created_at timestamptz NOT NULL DEFAULT now(),
	actor text NOT NULL DEFAULT geostream.actor()
		CONSTRAINT breaker_forces_actor CHECK (octet_length(actor) <= 63 AND actor !~ '[[:cntrl:]]'),
	reason text NOT NULL DEFAULT ''
		CONSTRAINT breaker_forces_reason CHECK (octet_length(reason) <= 127 AND reason !~ '[[:cntrl:]]'),
	CONSTRAINT breaker_forces_pkey PRIMARY KEY (service, region, edge)
);
CREATE INDEX breaker_forces_by_region ON geostream.breaker_forces (region);
COMMENT ON TABLE geostream.breaker_forces IS
	'breakers an operator holds open or closed until the force expires; part of the desired state, not of a configuration document';
COMMENT ON COLUMN geostream.breaker_forces.edge IS 'of one edge; empty: of all. One that names the edge wins';
COMMENT ON CONSTRAINT breaker_forces_service_fkey ON geostream.breaker_forces IS
	'a force is on the breaker of a service that exists';
COMMENT ON CONSTRAINT breaker_forces_region_fkey ON geostream.breaker_forces IS
	'a force is on the breaker of a region that exists';
COMMENT ON CONSTRAINT breaker_forces_edge ON geostream.breaker_forces IS
	'an edge''s name is up to 63 bytes without control characters';
COMMENT ON CONSTRAINT breaker_forces_state ON geostream.breaker_forces IS 'a breaker is forced open or closed';
COMMENT ON CONSTRAINT breaker_forces_expires ON geostream.breaker_forces IS
	'a force expires within 7 days, and not before it was made';
COMMENT ON CONSTRAINT breaker_forces_actor ON geostream.breaker_forces IS
	'an actor is up to 63 bytes of text without control characters';
COMMENT ON CONSTRAINT breaker_forces_reason ON geostream.breaker_forces IS
	'a reason is up to 127 bytes of text without control characters';
SELECT geostream.track('geostream.breaker_forces');

-- ---- what edges last saw -------------------------------------------------------------------------
CREATE TABLE geostream.breaker_states (
	edge text NOT NULL,
	service text NOT NULL,
	region text NOT NULL,
	state text NOT NULL
		CONSTRAINT breaker_states_state CHECK (state IN ('closed', 'open', 'half_open', 'closing')),
	exponent integer NOT NULL DEFAULT 0,
	epoch bigint NOT NULL DEFAULT 0,
	left_ms bigint NOT NULL DEFAULT 0,
	saved_at timestamptz NOT NULL,
	why text NOT NULL DEFAULT '',
	CONSTRAINT breaker_states_pkey PRIMARY KEY (edge, service, region)
);
COMMENT ON TABLE geostream.breaker_states IS
	'the last state of each breaker of each edge: what its daemon takes up again after a restart';
COMMENT ON COLUMN geostream.breaker_states.exponent IS 'its next open time is at most open_ms * 2^exponent';
COMMENT ON COLUMN geostream.breaker_states.epoch IS 'counts its changes';
COMMENT ON COLUMN geostream.breaker_states.left_ms IS 'open: how long from saved_at until it is half open';

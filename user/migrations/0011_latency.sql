-- SPDX-License-Identifier: Apache-2.0
-- Round trips of clients: what edges measured, and what is published of it for all of them to rank
-- by. The one edge whose turn it is judges; it keeps the turn for as long as it takes it.

-- ---- what edges measured -------------------------------------------------------------------------
CREATE TABLE geostream.latency_samples (
	edge text COLLATE "C" NOT NULL,
	place text COLLATE "C" NOT NULL CONSTRAINT latency_samples_place CHECK (place ~
		'^cell:[A-Z]{2}(-[A-Z0-9]{1,3})?/(0|-?([1-9]|[1-8][0-9]|90)),(0|-?([1-9][0-9]?|1[0-7][0-9]|180))$'),
	region text COLLATE "C" NOT NULL,
	continent text NOT NULL DEFAULT '' CONSTRAINT latency_samples_continent CHECK
		(continent IN ('', 'AF', 'AN', 'AS', 'EU', 'NA', 'OC', 'SA')),
	samples integer NOT NULL CONSTRAINT latency_samples_samples CHECK (samples > 0),
	rtt_us integer NOT NULL CONSTRAINT latency_samples_rtt CHECK (rtt_us BETWEEN 1 AND 60000000),
	model_us integer NOT NULL CONSTRAINT latency_samples_model CHECK (model_us BETWEEN 0 AND 60000000),
	at timestamptz NOT NULL,
	CONSTRAINT latency_samples_pkey PRIMARY KEY (edge, place, region)
);
CREATE INDEX latency_samples_at ON geostream.latency_samples (at);
COMMENT ON TABLE geostream.latency_samples IS
	'round trips of handshakes as each edge saw them of late: clients of a cell to a region; rows older than 20 minutes go with any edge''s writes';
COMMENT ON COLUMN geostream.latency_samples.place IS
	'a square of one degree, by its south-western corner, in a subdivision or country: cell:DE-BE/52,13';
COMMENT ON COLUMN geostream.latency_samples.region IS 'by name: what was measured outlives it';
COMMENT ON COLUMN geostream.latency_samples.samples IS 'handshakes of the last five to ten minutes';
COMMENT ON COLUMN geostream.latency_samples.rtt_us IS 'the median of the newest ones';
COMMENT ON COLUMN geostream.latency_samples.model_us IS 'what distance alone would make it';
COMMENT ON COLUMN geostream.latency_samples.at IS 'of the newest handshake';
COMMENT ON CONSTRAINT latency_samples_place ON geostream.latency_samples IS
	'a cell is one like cell:DE-BE/52,13 or cell:DE/52,13';
COMMENT ON CONSTRAINT latency_samples_continent ON geostream.latency_samples IS
	'a continent is AF, AN, AS, EU, NA, OC, SA or not known';
COMMENT ON CONSTRAINT latency_samples_samples ON geostream.latency_samples IS
	'what is told was measured at least once';
COMMENT ON CONSTRAINT latency_samples_rtt ON geostream.latency_samples IS
	'a round trip is 1 to 60000000 microseconds';
COMMENT ON CONSTRAINT latency_samples_model ON geostream.latency_samples IS
	'a modelled round trip is up to 60000000 microseconds';

-- ---- whose turn it is ----------------------------------------------------------------------------
CREATE TABLE geostream.latency_turn (
	only_row boolean NOT NULL DEFAULT true CONSTRAINT latency_turn_pkey PRIMARY KEY
		CONSTRAINT latency_turn_only_row CHECK (only_row),
	epoch bigint NOT NULL DEFAULT 0,
	holder text COLLATE "C" NOT NULL DEFAULT '',
	taken_at timestamptz NOT NULL DEFAULT '-infinity',
	published_at timestamptz
);
INSERT INTO geostream.latency_turn DEFAULT VALUES;
COMMENT ON TABLE geostream.latency_turn IS
	'the edge that judges what all measured: it alone may publish, and only within the turn it took last';
COMMENT ON COLUMN geostream.latency_turn.epoch IS 'counts turns; what was judged in an older one is void';
COMMENT ON CONSTRAINT latency_turn_only_row ON geostream.latency_turn IS 'there is one turn at a time';

-- The new epoch; NULL: another edge has had its turn within three of the caller's periods.
CREATE FUNCTION geostream.take_latency_turn(judge text, period_ms integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS $$
	UPDATE geostream.latency_turn
	SET epoch = epoch + 1, holder = judge, taken_at = clock_timestamp()
	WHERE holder = judge OR taken_at < clock_timestamp() - period_ms * 3 * interval '1 millisecond'
	RETURNING epoch
$$;
COMMENT ON FUNCTION geostream.take_latency_turn(text, integer) IS
	'an edge takes the turn to judge latencies: the epoch it publishes with, or NULL';

-- ---- what is published ---------------------------------------------------------------------------
CREATE TABLE geostream.latency_estimates (
	place text COLLATE "C" NOT NULL CONSTRAINT latency_estimates_place CHECK (place ~
		'^(everybody|continent:(AF|AN|AS|EU|NA|OC|SA)|country:[A-Z]{2}|subdivision:[A-Z]{2}-[A-Z0-9]{1,3}|cell:[A-Z]{2}(-[A-Z0-9]{1,3})?/(0|-?([1-9]|[1-8][0-9]|90)),(0|-?([1-9][0-9]?|1[0-7][0-9]|180)))$'),
	region integer NOT NULL CONSTRAINT latency_estimates_region_fkey
		REFERENCES geostream.regions (id) ON DELETE CASCADE,
	us integer NOT NULL CONSTRAINT latency_estimates_us CHECK (us BETWEEN -60000000 AND 60000000),
	samples integer NOT NULL CONSTRAINT latency_estimates_samples CHECK (samples > 0),
	at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT latency_estimates_pkey PRIMARY KEY (place, region)
);
CREATE INDEX latency_estimates_region ON geostream.latency_estimates (region);
COMMENT ON TABLE geostream.latency_estimates IS
	'what clients of a place need to a region: part of what all edges rank by, made by the edge whose turn it is';
COMMENT ON COLUMN geostream.latency_estimates.us IS
	'of a cell: the round trip in microseconds; of a larger place: how much more than distance alone';
COMMENT ON COLUMN geostream.latency_estimates.at IS 'when it became this value';
COMMENT ON CONSTRAINT latency_estimates_place ON geostream.latency_estimates IS
	'a place is everybody, continent:EU, country:DE, subdivision:US-CA or a cell';
COMMENT ON CONSTRAINT latency_estimates_region_fkey ON geostream.latency_estimates IS
	'an estimate is of a region that exists, and goes with it';
COMMENT ON CONSTRAINT latency_estimates_us ON geostream.latency_estimates IS
	'an estimate is up to 60000000 microseconds';
COMMENT ON CONSTRAINT latency_estimates_samples ON geostream.latency_estimates IS
	'what is published was measured at least once';

CREATE FUNCTION geostream.limit_latency_estimates() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) FROM geostream.latency_estimates) > 16384 THEN
		RAISE EXCEPTION 'more than 16384 latency estimates'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'latency_estimates',
				CONSTRAINT = 'latency_estimates_limit';
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER latency_estimates_limit AFTER INSERT OR UPDATE ON geostream.latency_estimates
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.limit_latency_estimates();
SELECT geostream.track('geostream.latency_estimates');

-- changes: [{"place", "region": id, "us", "samples"}]; us null: the row goes. One transaction, one
-- revision. False: the turn is over. Waits two seconds for whoever holds the revision, not longer:
-- what is not published now is judged again.
CREATE FUNCTION geostream.publish_latency(judge text, turn bigint, changes jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '2s' AS $$
BEGIN
	UPDATE geostream.latency_turn SET published_at = clock_timestamp()
	WHERE epoch = turn AND holder = judge;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM set_config('geostream.actor', left('latency, judged by ' || judge, 63), true);
	DELETE FROM geostream.latency_estimates e
	USING jsonb_to_recordset(changes) AS c(place text, region integer, us integer)
	WHERE c.us IS NULL AND e.place = c.place AND e.region = c.region;
	INSERT INTO geostream.latency_estimates AS e (place, region, us, samples)
	SELECT c.place, c.region, c.us, c.samples
	FROM jsonb_to_recordset(changes) AS c(place text, region integer, us integer, samples integer)
	JOIN geostream.regions r ON r.id = c.region WHERE c.us IS NOT NULL
	ON CONFLICT ON CONSTRAINT latency_estimates_pkey DO UPDATE
	SET us = EXCLUDED.us, samples = EXCLUDED.samples, at = now() WHERE e.us <> EXCLUDED.us;
	RETURN true;
END $$;
COMMENT ON FUNCTION geostream.publish_latency(text, bigint, jsonb) IS
	'publishes what an edge judged in its turn, as one revision; false: it is not its turn any more';

-- SPDX-License-Identifier: Apache-2.0
-- Round trips that change by and by: a part of all clients goes by what is published, the others by
-- what was before, until the edge whose turn it is has let all of them go over.

ALTER TABLE geostream.latency_estimates
	ADD COLUMN before_us integer
		CONSTRAINT latency_estimates_before_us CHECK (before_us BETWEEN -60000000 AND 60000000),
	ADD COLUMN before_percent smallint NOT NULL DEFAULT 0
		CONSTRAINT latency_estimates_before_percent CHECK (before_percent BETWEEN 0 AND 99),
	ADD COLUMN goes boolean NOT NULL DEFAULT false,
	ADD CONSTRAINT latency_estimates_before CHECK
		(before_percent > 0 OR (before_us IS NULL AND NOT goes)),
	ADD CONSTRAINT latency_estimates_goes CHECK (NOT goes OR before_us IS NULL);
COMMENT ON COLUMN geostream.latency_estimates.before_us IS
	'what it was before, while some clients still go by that; NULL: there was nothing, or it goes';
COMMENT ON COLUMN geostream.latency_estimates.before_percent IS
	'so many of a hundred client prefixes still go by what was before; 0: none';
COMMENT ON COLUMN geostream.latency_estimates.goes IS
	'it is withdrawn: us is what those still go by who have not gone over to a larger place''s';
COMMENT ON CONSTRAINT latency_estimates_before_us ON geostream.latency_estimates IS
	'an estimate is up to 60000000 microseconds';
COMMENT ON CONSTRAINT latency_estimates_before_percent ON geostream.latency_estimates IS
	'0 to 99 of a hundred clients go by what was before';
COMMENT ON CONSTRAINT latency_estimates_before ON geostream.latency_estimates IS
	'what was before is kept, and a row goes, only while some clients go by it';
COMMENT ON CONSTRAINT latency_estimates_goes ON geostream.latency_estimates IS
	'of a row that goes, us is what was before';

-- changes: {"from", "to", "begins", "rows"}. Rows of which up to `from` of a hundred clients go by what
-- was before go on to `to`, and are done at 0: whoever has not read the last step yet takes none
-- twice. rows: [{"place", "region": id, "us", "samples"}], us null: the row goes; of a hundred
-- clients `begins` go by what was before, first. An array: its rows are for all clients at once, and so
-- is what was under way. One transaction, one revision. False: the turn is over. Waits two seconds
-- for whoever holds the revision, not longer: what is not published now is judged again.
CREATE OR REPLACE FUNCTION geostream.publish_latency(judge text, turn bigint, changes jsonb)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '2s' AS $$
DECLARE
	step jsonb := CASE jsonb_typeof(changes) WHEN 'object' THEN changes
		ELSE jsonb_build_object('from', 99, 'to', 0, 'begins', 0, 'rows', changes) END;
	from_percent integer := (step ->> 'from')::integer;
	to_percent integer := (step ->> 'to')::integer;
	first_percent integer := (step ->> 'begins')::integer;
BEGIN
	UPDATE geostream.latency_turn SET published_at = clock_timestamp()
	WHERE epoch = turn AND holder = judge;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM set_config('geostream.actor', left('latency, judged by ' || judge, 63), true);

	-- What is under way goes on.
	DELETE FROM geostream.latency_estimates
	WHERE goes AND to_percent = 0 AND before_percent <= from_percent;
	UPDATE geostream.latency_estimates
	SET before_percent = to_percent, before_us = CASE WHEN to_percent > 0 THEN before_us END
	WHERE before_percent > to_percent AND before_percent <= from_percent;

	-- What goes: at once what nobody goes by yet.
	DELETE FROM geostream.latency_estimates e
	USING jsonb_to_recordset(step -> 'rows') AS c(place text, region integer, us integer)
	WHERE c.us IS NULL AND e.place = c.place AND e.region = c.region AND (first_percent = 0
		OR (e.before_percent > 0 AND e.before_us IS NULL AND NOT e.goes));
	UPDATE geostream.latency_estimates e
	SET us = coalesce(e.before_us, e.us), before_us = NULL, before_percent = first_percent, goes = true,
		at = now()
	FROM jsonb_to_recordset(step -> 'rows') AS c(place text, region integer, us integer)
	WHERE c.us IS NULL AND e.place = c.place AND e.region = c.region AND NOT e.goes;

	-- What comes, or becomes another.
	INSERT INTO geostream.latency_estimates AS e (place, region, us, samples, before_percent)
	SELECT c.place, c.region, c.us, c.samples, first_percent
	FROM jsonb_to_recordset(step -> 'rows') AS c(place text, region integer, us integer, samples integer)
	JOIN geostream.regions r ON r.id = c.region WHERE c.us IS NOT NULL
	ON CONFLICT ON CONSTRAINT latency_estimates_pkey DO UPDATE
	SET us = EXCLUDED.us, samples = EXCLUDED.samples, at = now(), goes = false,
		before_percent = EXCLUDED.before_percent,
		before_us = CASE WHEN EXCLUDED.before_percent = 0 THEN NULL
			WHEN e.before_percent = 0 OR e.goes THEN e.us ELSE e.before_us END
	WHERE e.us <> EXCLUDED.us OR e.goes;
	RETURN true;
END $$;

-- SPDX-License-Identifier: Apache-2.0
-- Overrides of autonomous systems: of the clients whose addresses an edge's ASN database says are one's.

ALTER TABLE geostream.overrides
	ADD COLUMN asn bigint CONSTRAINT overrides_asn_key UNIQUE
		CONSTRAINT overrides_asn CHECK (asn BETWEEN 1 AND 4294967295),
	DROP CONSTRAINT overrides_clients,
	ADD CONSTRAINT overrides_clients CHECK (num_nonnulls(prefix, asn, place) = 1);
COMMENT ON TABLE geostream.overrides IS
	'these clients go to this region first, whatever their policy says: the longest prefix around one, then its autonomous system, then subdivision, country, continent';
COMMENT ON COLUMN geostream.overrides.asn IS
	'whose addresses the ASN database says they are: the number of an autonomous system';
COMMENT ON CONSTRAINT overrides_asn_key ON geostream.overrides IS 'there is an override for this AS';
COMMENT ON CONSTRAINT overrides_asn ON geostream.overrides IS
	'the number of an autonomous system is 1 to 4294967295';
COMMENT ON CONSTRAINT overrides_clients ON geostream.overrides IS
	'an override is of a prefix, of an AS or of a place';

CREATE OR REPLACE FUNCTION geostream.limit_overrides() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	most bigint;
	places bigint;
	systems bigint;
BEGIN
	SELECT max(n) INTO most FROM
		(SELECT count(*) AS n FROM geostream.overrides GROUP BY family(prefix)) AS counted;
	SELECT count(place), count(asn) INTO places, systems FROM geostream.overrides;
	IF most > 65536 THEN
		RAISE EXCEPTION 'more than 65536 overrides of one family'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'overrides',
				CONSTRAINT = 'overrides_limit';
	END IF;
	IF places > 1024 THEN
		RAISE EXCEPTION 'more than 1024 overrides of places'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'overrides',
				CONSTRAINT = 'overrides_limit';
	END IF;
	IF systems > 1024 THEN
		RAISE EXCEPTION 'more than 1024 overrides of autonomous systems'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'overrides',
				CONSTRAINT = 'overrides_limit';
	END IF;
	RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION geostream.object_name(kind text, columns jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE kind
	WHEN 'override' THEN coalesce(columns ->> 'prefix', 'AS' || (columns ->> 'asn'), columns ->> 'place')
	WHEN 'access' THEN concat_ws('@', columns ->> 'prefix', nullif(columns ->> 'service', ''))
	WHEN 'fence' THEN concat_ws('@', columns ->> 'place', nullif(columns ->> 'service', ''))
	WHEN 'force' THEN concat_ws('/', columns ->> 'service', columns ->> 'region',
		nullif(columns ->> 'edge', ''))
	ELSE columns ->> 'name'
END;

-- SPDX-License-Identifier: Apache-2.0
-- Steering: policies that rank by several criteria, overrides of places, and fences.

-- ---- regions -------------------------------------------------------------------------------------
ALTER TABLE geostream.regions
	ADD COLUMN availability double precision NOT NULL DEFAULT 0
		CONSTRAINT regions_availability CHECK (availability BETWEEN 0 AND 100);
COMMENT ON COLUMN geostream.regions.availability IS
	'percent of the time, as promised; policies rank by its nines; 0: not stated';
COMMENT ON CONSTRAINT regions_availability ON geostream.regions IS
	'availability is 0 (not stated) to 100 percent';

-- ---- policies ------------------------------------------------------------------------------------
-- Each criterion once, and nothing behind weight.
CREATE FUNCTION geostream.is_rank(rank text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN cardinality(rank) BETWEEN 1 AND 4
	AND rank <@ ARRAY['order', 'geo', 'latency', 'cost', 'availability', 'weight']
	AND cardinality(rank) = (SELECT count(DISTINCT criterion) FROM unnest(rank) AS criterion)
	AND coalesce(array_position(rank, 'weight') = cardinality(rank), true);
COMMENT ON FUNCTION geostream.is_rank(text[]) IS
	'1 to 4 different criteria of order, geo, latency, cost, availability and weight, which is the last';

ALTER TABLE geostream.policies
	DROP CONSTRAINT policies_kind,
	ADD CONSTRAINT policies_kind CHECK (kind IN
		('geo', 'failover', 'latency', 'cost', 'availability', 'weighted', 'ranked')),
	ADD COLUMN rank text[] NOT NULL DEFAULT '{}'
		CONSTRAINT policies_rank CHECK (rank = '{}' OR geostream.is_rank(rank)),
	ADD CONSTRAINT policies_rank_of_ranked CHECK ((kind = 'ranked') = (rank <> '{}')),
	ADD COLUMN band_ms integer NOT NULL DEFAULT 5
		CONSTRAINT policies_band_ms CHECK (band_ms BETWEEN 0 AND 10000),
	ADD COLUMN band_percent integer NOT NULL DEFAULT 10
		CONSTRAINT policies_band_percent CHECK (band_percent BETWEEN 0 AND 100);
COMMENT ON COLUMN geostream.policies.kind IS
	'geo: by distance; failover: by the order; latency, cost (of what is as near), availability, weighted: as named; ranked: by rank';
COMMENT ON COLUMN geostream.policies.rank IS
	'with kind ranked: criteria, the first decides, the next among what it leaves tied';
COMMENT ON COLUMN geostream.policies.band_ms IS
	'regions within band_ms, or band_percent if that is more, of the best round trip are tied by latency';
COMMENT ON CONSTRAINT policies_kind ON geostream.policies IS
	'a policy''s kind is geo, failover, latency, cost, availability, weighted or ranked';
COMMENT ON CONSTRAINT policies_rank ON geostream.policies IS
	'a rank is 1 to 4 different criteria of order, geo, latency, cost, availability and weight, which is the last';
COMMENT ON CONSTRAINT policies_rank_of_ranked ON geostream.policies IS
	'kind ranked has a rank, the others have none of their own';
COMMENT ON CONSTRAINT policies_band_ms ON geostream.policies IS 'band_ms is 0 to 10000';
COMMENT ON CONSTRAINT policies_band_percent ON geostream.policies IS 'band_percent is 0 to 100';

ALTER TABLE geostream.policy_regions
	ADD COLUMN bias integer NOT NULL DEFAULT 0
		CONSTRAINT policy_regions_bias CHECK (bias BETWEEN -99 AND 99),
	ADD COLUMN weight integer NOT NULL DEFAULT 100
		CONSTRAINT policy_regions_weight CHECK (weight BETWEEN 0 AND 1000);
COMMENT ON COLUMN geostream.policy_regions.bias IS
	'percent, of distances to the region: above 0 it draws clients, below it repels them';
COMMENT ON COLUMN geostream.policy_regions.weight IS
	'of the clients that regions tied by all criteria share; 0: last resort';
COMMENT ON CONSTRAINT policy_regions_bias ON geostream.policy_regions IS 'a bias is -99 to 99 percent';
COMMENT ON CONSTRAINT policy_regions_weight ON geostream.policy_regions IS
	'a region''s weight in a policy is 0 (last resort) to 1000';

-- ---- overrides -----------------------------------------------------------------------------------
ALTER TABLE geostream.overrides
	DROP CONSTRAINT overrides_pkey,
	ALTER COLUMN prefix DROP NOT NULL,
	ADD CONSTRAINT overrides_key UNIQUE (prefix),
	ADD COLUMN place text COLLATE "C" CONSTRAINT overrides_place_key UNIQUE
		CONSTRAINT overrides_place CHECK (place ~
			'^(continent:(AF|AN|AS|EU|NA|OC|SA)|country:[A-Z]{2}|subdivision:[A-Z]{2}-[A-Z0-9]{1,3})$'),
	ADD CONSTRAINT overrides_clients CHECK (num_nonnulls(prefix, place) = 1);
COMMENT ON TABLE geostream.overrides IS
	'these clients go to this region first, whatever their policy says: the longest prefix around one, then subdivision, country, continent';
COMMENT ON COLUMN geostream.overrides.place IS
	'where the GeoIP database says they are: continent:EU, country:DE, subdivision:US-CA';
COMMENT ON CONSTRAINT overrides_key ON geostream.overrides IS 'there is an override for this prefix';
COMMENT ON CONSTRAINT overrides_place_key ON geostream.overrides IS 'there is an override for this place';
COMMENT ON CONSTRAINT overrides_place ON geostream.overrides IS
	'a place is continent:EU, country:DE or subdivision:US-CA, its code in capitals';
COMMENT ON CONSTRAINT overrides_clients ON geostream.overrides IS
	'an override is of a prefix or of a place';

CREATE OR REPLACE FUNCTION geostream.limit_overrides() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	most bigint;
	places bigint;
BEGIN
	SELECT max(n) INTO most FROM
		(SELECT count(*) AS n FROM geostream.overrides GROUP BY family(prefix)) AS counted;
	SELECT count(place) INTO places FROM geostream.overrides;
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
	RETURN NULL;
END $$;

-- ---- fences --------------------------------------------------------------------------------------
-- Regions in one column: a fence is one thing, which is there as a whole or not at all.
CREATE TABLE geostream.fences (
	place text COLLATE "C" NOT NULL CONSTRAINT fences_place CHECK (place ~
		'^(everybody|continent:(AF|AN|AS|EU|NA|OC|SA)|country:[A-Z]{2}|subdivision:[A-Z]{2}-[A-Z0-9]{1,3})$'),
	service integer CONSTRAINT fences_service_fkey REFERENCES geostream.services (id),
	regions integer[] NOT NULL CONSTRAINT fences_regions CHECK
		(cardinality(regions) BETWEEN 1 AND 32 AND array_ndims(regions) = 1
		AND array_position(regions, NULL) IS NULL),
	"unknown" text NOT NULL DEFAULT 'free'
		CONSTRAINT fences_unknown CHECK ("unknown" IN ('free', 'fenced')),
	reason text NOT NULL DEFAULT ''
		CONSTRAINT fences_reason CHECK (octet_length(reason) <= 127 AND reason !~ '[[:cntrl:]]'),
	CONSTRAINT fences_key EXCLUDE USING btree (place WITH =, (coalesce(service, 0)) WITH =)
);
CREATE INDEX fences_service ON geostream.fences (service);
COMMENT ON TABLE geostream.fences IS
	'clients of this place are served by these regions only, whatever else says so; of several fences by those that all of them name';
COMMENT ON COLUMN geostream.fences.place IS
	'where the GeoIP database says they are: everybody, continent:EU, country:DE, subdivision:US-CA';
COMMENT ON COLUMN geostream.fences.service IS 'NULL: every service';
COMMENT ON COLUMN geostream.fences."unknown" IS
	'clients of whom the database does not tell so much. free: the fence is not for them; fenced: for them, too';
COMMENT ON CONSTRAINT fences_key ON geostream.fences IS 'there is a fence for this place and service';
COMMENT ON CONSTRAINT fences_place ON geostream.fences IS
	'a place is everybody, continent:EU, country:DE or subdivision:US-CA, its code in capitals';
COMMENT ON CONSTRAINT fences_service_fkey ON geostream.fences IS
	'a fence''s service exists, and a service with fences stays';
COMMENT ON CONSTRAINT fences_regions ON geostream.fences IS 'a fence names 1 to 32 regions';
COMMENT ON CONSTRAINT fences_unknown ON geostream.fences IS 'unknown is free or fenced';
COMMENT ON CONSTRAINT fences_reason ON geostream.fences IS
	'a reason is up to 127 bytes of text without control characters';

-- What a foreign key would say of each element. Free of races, as refuse_vip_loop() is.
CREATE FUNCTION geostream.refuse_fence_regions() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	wrong record;
BEGIN
	SELECT f.place, named.id, r.name IS NULL AS is_missing INTO wrong
	FROM geostream.fences f CROSS JOIN LATERAL
		(SELECT id, count(*) AS times FROM unnest(f.regions) AS id GROUP BY id) AS named
	LEFT JOIN geostream.regions r ON r.id = named.id
	WHERE r.id IS NULL OR named.times > 1 LIMIT 1;
	IF FOUND AND wrong.is_missing THEN
		RAISE EXCEPTION 'fence % names region id %, which is not there', wrong.place, wrong.id
			USING ERRCODE = 'foreign_key_violation', SCHEMA = 'geostream', TABLE = TG_TABLE_NAME,
				CONSTRAINT = TG_NAME;
	ELSIF FOUND THEN
		RAISE EXCEPTION 'fence % names region % twice', wrong.place, geostream.region_name(wrong.id)
			USING ERRCODE = 'check_violation', SCHEMA = 'geostream', TABLE = TG_TABLE_NAME,
				CONSTRAINT = TG_NAME;
	END IF;
	RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION geostream.refuse_fence_regions() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER fences_regions_exist AFTER INSERT OR UPDATE OF regions
	ON geostream.fences DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION geostream.refuse_fence_regions();
CREATE CONSTRAINT TRIGGER regions_of_fences_stay AFTER DELETE
	ON geostream.regions DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION geostream.refuse_fence_regions();
CREATE TRIGGER regions_of_fences_stay_truncated AFTER TRUNCATE ON geostream.regions
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.refuse_fence_regions();
COMMENT ON TRIGGER fences_regions_exist ON geostream.fences IS
	'a fence names regions that exist, each once';
COMMENT ON TRIGGER regions_of_fences_stay ON geostream.regions IS 'a region that a fence names stays';

CREATE FUNCTION geostream.limit_fences() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) FROM geostream.fences) > 256 THEN
		RAISE EXCEPTION 'more than 256 fences'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'fences',
				CONSTRAINT = 'fences_limit';
	END IF;
	RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION geostream.limit_fences() FROM PUBLIC;
CREATE TRIGGER fences_limit AFTER INSERT OR UPDATE ON geostream.fences
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.limit_fences();

-- ---- audit, revision, rights ---------------------------------------------------------------------
ALTER TABLE geostream.audit
	DROP CONSTRAINT audit_kind,
	ADD CONSTRAINT audit_kind CHECK (kind IN
		('region', 'policy', 'service', 'backend', 'override', 'access', 'fence', 'force', 'seed'));

-- The regions of a policy, in order, as the audit has them: names, and where one has a bias or a
-- weight of its own, "eu bias 20 weight 70".
CREATE FUNCTION geostream.order_item(region integer, bias integer, weight integer) RETURNS text
LANGUAGE sql STABLE
RETURN geostream.region_name(region) || CASE WHEN bias = 0 THEN '' ELSE ' bias ' || bias END
	|| CASE WHEN weight = 100 THEN '' ELSE ' weight ' || weight END;
REVOKE ALL ON FUNCTION geostream.order_item(integer, integer, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION geostream.describe_policy(policy geostream.policies, region_order jsonb)
RETURNS jsonb
LANGUAGE sql STABLE
RETURN to_jsonb(policy) - 'id' || jsonb_build_object('order', region_order);
CREATE OR REPLACE FUNCTION geostream.current_order(wanted integer) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (SELECT coalesce(jsonb_agg(geostream.order_item(o.region, o.bias, o.weight)
	ORDER BY o.position), '[]') FROM geostream.policy_regions o WHERE o.policy = wanted);

CREATE OR REPLACE FUNCTION geostream.audit_orders(took jsonb, brought jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	policy geostream.policies;
BEGIN
	FOR policy IN SELECT p.* FROM geostream.policies p WHERE p.id IN
		(SELECT (value ->> 'policy')::integer FROM jsonb_array_elements(took || brought)) LOOP
		PERFORM geostream.note_change('policy', policy.name,
			geostream.describe_policy(policy, (
				SELECT coalesce(jsonb_agg(geostream.order_item((o ->> 'region')::integer,
					(o ->> 'bias')::integer, (o ->> 'weight')::integer)
					ORDER BY (o ->> 'position')::integer), '[]')
				FROM ((SELECT to_jsonb(c) AS o FROM geostream.policy_regions c WHERE c.policy = policy.id
					EXCEPT SELECT value FROM jsonb_array_elements(brought))
					UNION SELECT value FROM jsonb_array_elements(took)
					WHERE (value ->> 'policy')::integer = policy.id) AS earlier)),
			geostream.describe_policy(policy, geostream.current_order(policy.id)));
	END LOOP;
END $$;

CREATE OR REPLACE FUNCTION geostream.describe_row(kind text, columns jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE kind
	WHEN 'service' THEN columns - 'id' || jsonb_build_object(
		'policy', geostream.policy_name((columns ->> 'policy')::integer))
	WHEN 'backend' THEN columns - 'id' || jsonb_build_object(
		'service', geostream.service_name((columns ->> 'service')::integer),
		'region', geostream.region_name((columns ->> 'region')::integer))
	WHEN 'override' THEN jsonb_strip_nulls(columns) || jsonb_build_object(
		'region', geostream.region_name((columns ->> 'region')::integer))
	WHEN 'access' THEN columns || jsonb_build_object(
		'service', coalesce(geostream.service_name((columns ->> 'service')::integer), ''))
	WHEN 'fence' THEN columns || jsonb_build_object(
		'service', coalesce(geostream.service_name((columns ->> 'service')::integer), ''),
		'regions', (SELECT jsonb_agg(geostream.region_name(id::integer) ORDER BY ordinality)
			FROM jsonb_array_elements_text(columns -> 'regions') WITH ORDINALITY AS f(id, ordinality)))
	WHEN 'policy' THEN columns - 'id' || jsonb_build_object(
		'order', geostream.current_order((columns ->> 'id')::integer))
	ELSE columns - 'id'
END;

CREATE OR REPLACE FUNCTION geostream.object_name(kind text, columns jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE kind
	WHEN 'override' THEN coalesce(columns ->> 'prefix', columns ->> 'place')
	WHEN 'access' THEN concat_ws('@', columns ->> 'prefix', nullif(columns ->> 'service', ''))
	WHEN 'fence' THEN concat_ws('@', columns ->> 'place', nullif(columns ->> 'service', ''))
	WHEN 'force' THEN concat_ws('/', columns ->> 'service', columns ->> 'region',
		nullif(columns ->> 'edge', ''))
	ELSE columns ->> 'name'
END;

SELECT geostream.track('geostream.fences');
SELECT geostream.audited('geostream.fences', 'fence');

CREATE OR REPLACE FUNCTION geostream.grant_roles() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	wanted text;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['geostream_edge', 'geostream_operator', 'geostream_readonly'] LOOP
		IF to_regrole(wanted) IS NULL THEN
			BEGIN
				EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
			EXCEPTION
				WHEN duplicate_object OR unique_violation THEN NULL; -- another database made it just now
				WHEN insufficient_privilege THEN
					RETURN format('role %s is missing, and %s may not make it: CREATE ROLE %s NOLOGIN as a '
						'superuser, then SELECT geostream.grant_roles()', wanted, current_user, wanted);
			END;
		END IF;
	END LOOP;

	REVOKE ALL ON SCHEMA geostream FROM PUBLIC;
	REVOKE ALL ON ALL TABLES IN SCHEMA geostream FROM PUBLIC;
	REVOKE ALL ON ALL FUNCTIONS IN SCHEMA geostream FROM PUBLIC;
	GRANT USAGE ON SCHEMA geostream TO geostream_edge, geostream_operator, geostream_readonly;
	GRANT SELECT ON ALL TABLES IN SCHEMA geostream
		TO geostream_edge, geostream_operator, geostream_readonly;
	GRANT EXECUTE ON FUNCTION geostream.is_host(inet), geostream.actor()
		TO geostream_edge, geostream_operator, geostream_readonly;

	-- An edge reads what is desired and tells what it sees.
	GRANT INSERT, UPDATE ON geostream.edges, geostream.health_states, geostream.breaker_states
		TO geostream_edge;
	GRANT INSERT, UPDATE, DELETE ON geostream.generations TO geostream_edge;
	GRANT INSERT ON geostream.transitions, geostream.probe_minutes TO geostream_edge;
	GRANT USAGE ON SEQUENCE geostream.transition_ids TO geostream_edge;
	GRANT EXECUTE ON FUNCTION geostream.maintain() TO geostream_edge, geostream_operator;

	-- An operator changes what is desired. The trigger functions behind it run as he, except for the
	-- audit's, which run as the owner: nobody else can write there.
	GRANT INSERT, UPDATE, DELETE ON geostream.regions, geostream.policies, geostream.policy_regions,
		geostream.services, geostream.backends, geostream.overrides, geostream.access,
		geostream.fences, geostream.breaker_forces TO geostream_operator;
	GRANT UPDATE ON geostream.revision TO geostream_operator;
	GRANT INSERT, UPDATE ON geostream.retired_ids TO geostream_operator;
	GRANT EXECUTE ON FUNCTION geostream.lock_revision(), geostream.bump_revision(),
		geostream.rows_inserted(), geostream.rows_updated(), geostream.rows_deleted(),
		geostream.rows_truncated(), geostream.allocate_id(), geostream.retire_id(),
		geostream.refuse_id_change(), geostream.refuse_vip_loop(), geostream.require_order(),
		geostream.limit_overrides(), geostream.refuse_forward_family(), geostream.limit_access(),
		geostream.refuse_fence_regions(), geostream.limit_fences(), geostream.is_rank(text[]),
		geostream.region_name(integer),
		geostream.orders_inserted(), geostream.orders_updated(),
		geostream.orders_deleted(), geostream.audit_orders(jsonb, jsonb)
		TO geostream_operator;
	RETURN '';
END $$;
SELECT geostream.grant_roles();

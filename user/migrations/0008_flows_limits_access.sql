-- SPDX-License-Identifier: Apache-2.0
-- Per service: affinity, limits, stale policy. Per region: limits. Deadlines of drains, NAT with a
-- port, and who may come in. What reads whole rows (revision, audit, rights) has the columns already.

-- ---- services ----------------------------------------------------------------------------------
ALTER TABLE geostream.services
	ADD COLUMN affinity text NOT NULL DEFAULT 'flow'
		CONSTRAINT services_affinity CHECK (affinity IN ('flow', 'client', 'prefix')),
	ADD COLUMN affinity_prefix4 integer NOT NULL DEFAULT 24
		CONSTRAINT services_affinity_prefix4 CHECK (affinity_prefix4 BETWEEN 8 AND 32),
	ADD COLUMN affinity_prefix6 integer NOT NULL DEFAULT 48
		CONSTRAINT services_affinity_prefix6 CHECK (affinity_prefix6 BETWEEN 16 AND 128),
	ADD COLUMN limit_client_packets integer NOT NULL DEFAULT 0
		CONSTRAINT services_limit_client_packets CHECK (limit_client_packets BETWEEN 0 AND 1000000000),
	ADD COLUMN limit_client_flows integer NOT NULL DEFAULT 0
		CONSTRAINT services_limit_client_flows CHECK (limit_client_flows BETWEEN 0 AND 1000000000),
	ADD COLUMN limit_packets integer NOT NULL DEFAULT 0
		CONSTRAINT services_limit_packets CHECK (limit_packets BETWEEN 0 AND 1000000000),
	ADD COLUMN limit_flows integer NOT NULL DEFAULT 0
		CONSTRAINT services_limit_flows CHECK (limit_flows BETWEEN 0 AND 1000000000),
	ADD COLUMN limit_prefix4 integer NOT NULL DEFAULT 32
		CONSTRAINT services_limit_prefix4 CHECK (limit_prefix4 BETWEEN 8 AND 32),
	ADD COLUMN limit_prefix6 integer NOT NULL DEFAULT 64
		CONSTRAINT services_limit_prefix6 CHECK (limit_prefix6 BETWEEN 16 AND 128),
	ADD COLUMN stale text NOT NULL DEFAULT 'keep'
		CONSTRAINT services_stale CHECK (stale IN ('keep', 'pass', 'drop')),
	ADD COLUMN stale_after_s integer NOT NULL DEFAULT 300
		CONSTRAINT services_stale_after CHECK (stale_after_s BETWEEN 10 AND 86400);
COMMENT ON COLUMN geostream.services.affinity IS
	'flows that meet one backend while nothing changes: each for itself, those of one client, those of one client prefix';
COMMENT ON COLUMN geostream.services.affinity_prefix4 IS 'bits of an IPv4 client prefix, for affinity prefix';
COMMENT ON COLUMN geostream.services.affinity_prefix6 IS 'bits of an IPv6 client prefix, for affinity prefix';
COMMENT ON COLUMN geostream.services.limit_client_packets IS
	'a second, of one client prefix, on one edge; 0: no limit';
COMMENT ON COLUMN geostream.services.limit_client_flows IS
	'new ones a second, of one client prefix, on one edge; 0: no limit';
COMMENT ON COLUMN geostream.services.limit_packets IS 'a second, of all clients, on one edge; 0: no limit';
COMMENT ON COLUMN geostream.services.limit_flows IS 'new ones a second, of all clients, on one edge; 0: no limit';
COMMENT ON COLUMN geostream.services.limit_prefix4 IS 'bits of an IPv4 client prefix, for its limits';
COMMENT ON COLUMN geostream.services.limit_prefix6 IS 'bits of an IPv6 client prefix, for its limits';
COMMENT ON COLUMN geostream.services.stale IS
	'packets when the controller has been away for stale_after_s. keep: as ever; pass: to the edge''s own stack; drop';
COMMENT ON CONSTRAINT services_affinity ON geostream.services IS 'affinity is flow, client or prefix';
COMMENT ON CONSTRAINT services_affinity_prefix4 ON geostream.services IS
	'an affinity''s IPv4 prefix has 8 to 32 bits';
COMMENT ON CONSTRAINT services_affinity_prefix6 ON geostream.services IS
	'an affinity''s IPv6 prefix has 16 to 128 bits';
COMMENT ON CONSTRAINT services_limit_client_packets ON geostream.services IS
	'a limit is 0 (none) to 1000000000 a second';
COMMENT ON CONSTRAINT services_limit_client_flows ON geostream.services IS
	'a limit is 0 (none) to 1000000000 a second';
COMMENT ON CONSTRAINT services_limit_packets ON geostream.services IS
	'a limit is 0 (none) to 1000000000 a second';
COMMENT ON CONSTRAINT services_limit_flows ON geostream.services IS
	'a limit is 0 (none) to 1000000000 a second';
COMMENT ON CONSTRAINT services_limit_prefix4 ON geostream.services IS
	'a limit''s IPv4 prefix has 8 to 32 bits';
COMMENT ON CONSTRAINT services_limit_prefix6 ON geostream.services IS
	'a limit''s IPv6 prefix has 16 to 128 bits';
COMMENT ON CONSTRAINT services_stale ON geostream.services IS 'stale is keep, pass or drop';
COMMENT ON CONSTRAINT services_stale_after ON geostream.services IS
	'a controller is away for 10 to 86400 seconds before its tables are stale';

-- ---- regions and backends ------------------------------------------------------------------------
ALTER TABLE geostream.regions
	ADD COLUMN limit_packets integer NOT NULL DEFAULT 0
		CONSTRAINT regions_limit_packets CHECK (limit_packets BETWEEN 0 AND 1000000000),
	ADD COLUMN limit_flows integer NOT NULL DEFAULT 0
		CONSTRAINT regions_limit_flows CHECK (limit_flows BETWEEN 0 AND 1000000000),
	ADD COLUMN drain_until timestamptz
		CONSTRAINT regions_drain_until CHECK (drain_until > 'epoch' AND drain_until < '10000-01-01Z'),
	ADD CONSTRAINT regions_drain CHECK (drain_until IS NULL OR admin = 'drain');
COMMENT ON COLUMN geostream.regions.limit_packets IS 'a second, into the region, by one edge; 0: no limit';
COMMENT ON COLUMN geostream.regions.limit_flows IS 'new ones a second, into the region, by one edge; 0: no limit';
COMMENT ON COLUMN geostream.regions.drain_until IS
	'with admin drain: known flows stay until then, and move away at that moment; NULL: until they end';
COMMENT ON CONSTRAINT regions_limit_packets ON geostream.regions IS
	'a limit is 0 (none) to 1000000000 a second';
COMMENT ON CONSTRAINT regions_limit_flows ON geostream.regions IS
	'a limit is 0 (none) to 1000000000 a second';
COMMENT ON CONSTRAINT regions_drain_until ON geostream.regions IS
	'a drain ends after 1970 and before the year 10000';
COMMENT ON CONSTRAINT regions_drain ON geostream.regions IS 'drain_until needs admin drain';

ALTER TABLE geostream.backends
	DROP CONSTRAINT backends_forward,
	ADD CONSTRAINT backends_forward CHECK (forward IN ('ipip', 'gue', 'l2', 'nat')),
	ADD COLUMN port integer NOT NULL DEFAULT 0
		CONSTRAINT backends_port CHECK (port BETWEEN 0 AND 65535),
	ADD CONSTRAINT backends_port_of_nat CHECK (port = 0 OR forward = 'nat'),
	ADD COLUMN drain_until timestamptz
		CONSTRAINT backends_drain_until CHECK (drain_until > 'epoch' AND drain_until < '10000-01-01Z'),
	ADD CONSTRAINT backends_drain CHECK (drain_until IS NULL OR admin = 'drain');
COMMENT ON COLUMN geostream.backends.forward IS
	'ipip: in an IP header; gue: behind UDP, too; l2: as they came, to its MAC, on the edge''s link; nat: addresses and ports rewritten';
COMMENT ON COLUMN geostream.backends.port IS 'with nat: where it listens; 0: the packet''s own port';
COMMENT ON COLUMN geostream.backends.drain_until IS
	'with admin drain: known flows stay until then, and move away at that moment; NULL: until they end';
COMMENT ON CONSTRAINT backends_forward ON geostream.backends IS 'forward is ipip, gue, l2 or nat';
COMMENT ON CONSTRAINT backends_port ON geostream.backends IS 'a port is 0 (the packet''s own) to 65535';
COMMENT ON CONSTRAINT backends_port_of_nat ON geostream.backends IS 'a backend''s port needs forward nat';
COMMENT ON CONSTRAINT backends_drain_until ON geostream.backends IS
	'a drain ends after 1970 and before the year 10000';
COMMENT ON CONSTRAINT backends_drain ON geostream.backends IS 'drain_until needs admin drain';

-- With NAT, too, the packet stays of the family it came in.
DROP TRIGGER services_vip_fits_l2 ON geostream.services;
DROP TRIGGER backends_forward_fits_vip ON geostream.backends;
DROP FUNCTION geostream.refuse_l2_family();
CREATE FUNCTION geostream.refuse_forward_family() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	clash record;
BEGIN
	SELECT s.name AS service, s.vip, b.name AS backend, b.address, b.forward INTO clash
	FROM geostream.services s JOIN geostream.backends b ON b.service = s.id
	WHERE CASE TG_TABLE_NAME WHEN 'services' THEN s.id ELSE b.id END = NEW.id
		AND b.forward IN ('l2', 'nat') AND family(b.address) <> family(s.vip) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'backend %: % needs an IPv% address, as the VIP % of service % is; % is IPv%',
			clash.backend, clash.forward, family(clash.vip), host(clash.vip), clash.service,
			host(clash.address), family(clash.address)
			USING ERRCODE = 'check_violation', SCHEMA = 'geostream', TABLE = TG_TABLE_NAME,
				CONSTRAINT = TG_NAME;
	END IF;
	RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION geostream.refuse_forward_family() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER services_vip_fits_forward AFTER UPDATE OF vip
	ON geostream.services DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION geostream.refuse_forward_family();
CREATE CONSTRAINT TRIGGER backends_forward_fits_vip AFTER INSERT OR UPDATE OF service, address, forward
	ON geostream.backends DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW WHEN (NEW.forward IN ('l2', 'nat')) EXECUTE FUNCTION geostream.refuse_forward_family();
COMMENT ON TRIGGER services_vip_fits_forward ON geostream.services IS
	'a VIP is of the family of the backends that get its packets by l2 or nat';
COMMENT ON TRIGGER backends_forward_fits_vip ON geostream.backends IS
	'a backend that gets packets by l2 or nat is of the VIP''s family';

-- ---- access --------------------------------------------------------------------------------------
CREATE TABLE geostream.access (
	prefix cidr NOT NULL CONSTRAINT access_prefix CHECK (NOT inet(prefix) <<= '::ffff:0:0/96'),
	service integer CONSTRAINT access_service_fkey REFERENCES geostream.services (id),
	action text NOT NULL CONSTRAINT access_action CHECK (action IN ('allow', 'deny')),
	reason text NOT NULL DEFAULT ''
		CONSTRAINT access_reason CHECK (octet_length(reason) <= 127 AND reason !~ '[[:cntrl:]]'),
	CONSTRAINT access_key EXCLUDE USING btree (prefix WITH =, (coalesce(service, 0)) WITH =)
);
CREATE INDEX access_prefix_gist ON geostream.access USING gist (prefix inet_ops);
CREATE INDEX access_service ON geostream.access (service);
COMMENT ON TABLE geostream.access IS
	'who may come in: the longest prefix decides, of two as long the one of the service; whom none speaks of may';
COMMENT ON COLUMN geostream.access.service IS 'NULL: every service';
COMMENT ON COLUMN geostream.access.action IS
	'allow: and no limit of one client holds for them; deny: their packets are dropped';
COMMENT ON CONSTRAINT access_key ON geostream.access IS
	'there is an access rule for this prefix and service';
COMMENT ON CONSTRAINT access_prefix ON geostream.access IS
	'an IPv4 prefix is written as one, not as ::ffff:a.b.c.d';
COMMENT ON CONSTRAINT access_service_fkey ON geostream.access IS
	'an access rule''s service exists, and a service with access rules stays';
COMMENT ON CONSTRAINT access_action ON geostream.access IS 'an access rule''s action is allow or deny';
COMMENT ON CONSTRAINT access_reason ON geostream.access IS
	'a reason is up to 127 bytes of text without control characters';

CREATE FUNCTION geostream.limit_access() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	most bigint;
BEGIN
	SELECT max(n) INTO most FROM
		(SELECT count(*) AS n FROM geostream.access GROUP BY family(prefix)) AS counted;
	IF most > 65536 THEN
		RAISE EXCEPTION 'more than 65536 access rules of one family'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'access',
				CONSTRAINT = 'access_limit';
	END IF;
	RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION geostream.limit_access() FROM PUBLIC;
CREATE TRIGGER access_limit AFTER INSERT OR UPDATE ON geostream.access
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.limit_access();

-- ---- audit, revision, rights -----------------------------------------------------------------------
ALTER TABLE geostream.audit
	DROP CONSTRAINT audit_kind,
	ADD CONSTRAINT audit_kind CHECK (kind IN
		('region', 'policy', 'service', 'backend', 'override', 'access', 'force', 'seed'));

CREATE OR REPLACE FUNCTION geostream.describe_row(kind text, columns jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE kind
	WHEN 'service' THEN columns - 'id' || jsonb_build_object(
		'policy', geostream.policy_name((columns ->> 'policy')::integer))
	WHEN 'backend' THEN columns - 'id' || jsonb_build_object(
		'service', geostream.service_name((columns ->> 'service')::integer),
		'region', geostream.region_name((columns ->> 'region')::integer))
	WHEN 'override' THEN columns || jsonb_build_object(
		'region', geostream.region_name((columns ->> 'region')::integer))
	WHEN 'access' THEN columns || jsonb_build_object(
		'service', coalesce(geostream.service_name((columns ->> 'service')::integer), ''))
	WHEN 'policy' THEN columns - 'id' || jsonb_build_object(
		'order', geostream.current_order((columns ->> 'id')::integer))
	ELSE columns - 'id'
END;

CREATE OR REPLACE FUNCTION geostream.object_name(kind text, columns jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE kind
	WHEN 'override' THEN columns ->> 'prefix'
	WHEN 'access' THEN concat_ws('@', columns ->> 'prefix', nullif(columns ->> 'service', ''))
	WHEN 'force' THEN concat_ws('/', columns ->> 'service', columns ->> 'region',
		nullif(columns ->> 'edge', ''))
	ELSE columns ->> 'name'
END;

-- Rows of a table that is emptied are named as all others: by what describes them.
CREATE OR REPLACE FUNCTION geostream.audit_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	gone jsonb;
BEGIN
	FOR gone IN EXECUTE format('SELECT geostream.describe_row(%L, to_jsonb(t)) FROM geostream.%I t',
		TG_ARGV[0], TG_TABLE_NAME) LOOP
		PERFORM geostream.note_change(TG_ARGV[0], geostream.object_name(TG_ARGV[0], gone), gone, NULL);
	END LOOP;
	RETURN NULL;
END $$;

SELECT geostream.track('geostream.access');
SELECT geostream.audited('geostream.access', 'access');

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
		geostream.breaker_forces TO geostream_operator;
	GRANT UPDATE ON geostream.revision TO geostream_operator;
	GRANT INSERT, UPDATE ON geostream.retired_ids TO geostream_operator;
	GRANT EXECUTE ON FUNCTION geostream.lock_revision(), geostream.bump_revision(),
		geostream.rows_inserted(), geostream.rows_updated(), geostream.rows_deleted(),
		geostream.rows_truncated(), geostream.allocate_id(), geostream.retire_id(),
		geostream.refuse_id_change(), geostream.refuse_vip_loop(), geostream.require_order(),
		geostream.limit_overrides(), geostream.refuse_forward_family(), geostream.limit_access(),
		geostream.orders_inserted(), geostream.orders_updated(),
		geostream.orders_deleted(), geostream.audit_orders(jsonb, jsonb)
		TO geostream_operator;
	RETURN '';
END $$;
SELECT geostream.grant_roles();

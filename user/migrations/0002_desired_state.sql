-- SPDX-License-Identifier: Apache-2.0
-- The desired state: what people configure. Limits are those of maps/gs_maps.h.

-- Can a packet be sent to it, one host? Neither unspecified, "this network", loopback, multicast,
-- reserved nor broadcast, nor an IPv6 spelling of an IPv4 address, nor one that needs a scope.
CREATE FUNCTION geostream.is_host(address inet) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN masklen(address) = CASE family(address) WHEN 4 THEN 32 ELSE 128 END
	AND NOT address <<= '0.0.0.0/8' AND NOT address <<= '127.0.0.0/8'
	AND NOT address <<= '224.0.0.0/4' AND NOT address <<= '240.0.0.0/4'
	AND NOT address <<= '::/127' AND NOT address <<= 'ff00::/8'
	AND NOT address <<= '::ffff:0:0/96' AND NOT address <<= 'fe80::/10';
COMMENT ON FUNCTION geostream.is_host(inet) IS 'one unicast address other machines can have';

-- ---- regions -----------------------------------------------------------------------------------
CREATE TABLE geostream.regions (
	id integer NOT NULL CONSTRAINT regions_pkey PRIMARY KEY
		CONSTRAINT regions_id CHECK (id BETWEEN 1 AND 255),
	name text COLLATE "C" NOT NULL CONSTRAINT regions_name_key UNIQUE
		CONSTRAINT regions_name CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	latitude double precision NOT NULL
		CONSTRAINT regions_latitude CHECK (latitude BETWEEN -90 AND 90),
	longitude double precision NOT NULL
		CONSTRAINT regions_longitude CHECK (longitude BETWEEN -180 AND 180),
	cost double precision NOT NULL DEFAULT 0
		CONSTRAINT regions_cost CHECK (cost >= 0 AND cost < 'Infinity'),
	capacity bigint NOT NULL DEFAULT 0 CONSTRAINT regions_capacity CHECK (capacity >= 0),
	admin text NOT NULL DEFAULT 'auto'
		CONSTRAINT regions_admin CHECK (admin IN ('auto', 'force_up', 'drain', 'maintenance', 'force_down'))
);
COMMENT ON TABLE geostream.regions IS 'where backends are';
COMMENT ON COLUMN geostream.regions.cost IS 'per GB, in any currency; 0: free';
COMMENT ON COLUMN geostream.regions.capacity IS 'new connections a second; 0: not stated';
COMMENT ON CONSTRAINT regions_id ON geostream.regions IS 'an id of a region is 1 to 255';
COMMENT ON CONSTRAINT regions_name ON geostream.regions IS
	'a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -';
COMMENT ON CONSTRAINT regions_name_key ON geostream.regions IS 'another region has this name';
COMMENT ON CONSTRAINT regions_latitude ON geostream.regions IS 'latitude is -90 to 90 degrees';
COMMENT ON CONSTRAINT regions_longitude ON geostream.regions IS 'longitude is -180 to 180 degrees';
COMMENT ON CONSTRAINT regions_cost ON geostream.regions IS 'cost is a finite number, 0 or more';
COMMENT ON CONSTRAINT regions_capacity ON geostream.regions IS 'capacity is 0 (not stated) or more';
COMMENT ON CONSTRAINT regions_admin ON geostream.regions IS
	'admin is auto, force_up, drain, maintenance or force_down';

-- ---- policies ----------------------------------------------------------------------------------
CREATE TABLE geostream.policies (
	id integer NOT NULL CONSTRAINT policies_pkey PRIMARY KEY
		CONSTRAINT policies_id CHECK (id BETWEEN 1 AND 255),
	name text COLLATE "C" NOT NULL CONSTRAINT policies_name_key UNIQUE
		CONSTRAINT policies_name CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	kind text NOT NULL CONSTRAINT policies_kind CHECK (kind IN ('geo', 'failover'))
);
COMMENT ON TABLE geostream.policies IS 'how a service ranks regions';
COMMENT ON COLUMN geostream.policies.kind IS
	'geo: nearest first, the default order where the location is unknown; failover: the default order for all';
COMMENT ON CONSTRAINT policies_id ON geostream.policies IS 'an id of a policy is 1 to 255';
COMMENT ON CONSTRAINT policies_name ON geostream.policies IS
	'a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -';
COMMENT ON CONSTRAINT policies_name_key ON geostream.policies IS 'another policy has this name';
COMMENT ON CONSTRAINT policies_kind ON geostream.policies IS 'a policy''s kind is geo or failover';

CREATE TABLE geostream.policy_regions (
	policy integer NOT NULL
		CONSTRAINT policy_regions_policy_fkey REFERENCES geostream.policies (id) ON DELETE CASCADE,
	position integer NOT NULL
		CONSTRAINT policy_regions_position CHECK (position BETWEEN 1 AND 16),
	region integer NOT NULL
		CONSTRAINT policy_regions_region_fkey REFERENCES geostream.regions (id),
	CONSTRAINT policy_regions_pkey PRIMARY KEY (policy, position),
	CONSTRAINT policy_regions_region_key UNIQUE (policy, region)
);
COMMENT ON TABLE geostream.policy_regions IS 'the default order of a policy: position 1 first';
COMMENT ON CONSTRAINT policy_regions_policy_fkey ON geostream.policy_regions IS 'no such policy';
COMMENT ON CONSTRAINT policy_regions_position ON geostream.policy_regions IS
	'a default order has 16 regions at most';
COMMENT ON CONSTRAINT policy_regions_region_fkey ON geostream.policy_regions IS
	'a default order names regions that exist';
COMMENT ON CONSTRAINT policy_regions_pkey ON geostream.policy_regions IS
	'two regions in the same place of a default order';
COMMENT ON CONSTRAINT policy_regions_region_key ON geostream.policy_regions IS
	'a default order names a region once';

-- ---- services ----------------------------------------------------------------------------------
CREATE TABLE geostream.services (
	id integer NOT NULL CONSTRAINT services_pkey PRIMARY KEY
		CONSTRAINT services_id CHECK (id BETWEEN 1 AND 1023),
	name text COLLATE "C" NOT NULL CONSTRAINT services_name_key UNIQUE
		CONSTRAINT services_name CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	vip inet NOT NULL CONSTRAINT services_vip CHECK (geostream.is_host(vip)),
	port integer NOT NULL CONSTRAINT services_port CHECK (port BETWEEN 0 AND 65535),
	protocol text NOT NULL CONSTRAINT services_protocol CHECK (protocol IN ('tcp', 'udp')),
	policy integer NOT NULL CONSTRAINT services_policy_fkey REFERENCES geostream.policies (id),
	probe_kind text NOT NULL DEFAULT 'tcp'
		CONSTRAINT services_probe_kind CHECK (probe_kind IN ('none', 'tcp', 'http')),
	probe_port integer NOT NULL DEFAULT 0
		CONSTRAINT services_probe_port CHECK (probe_port BETWEEN 0 AND 65535),
	probe_path text NOT NULL DEFAULT '/'
		CONSTRAINT services_probe_path CHECK (probe_path ~ '^/[!-~]{0,254}$'),
	probe_host text NOT NULL DEFAULT ''
		CONSTRAINT services_probe_host CHECK (probe_host ~ '^[][A-Za-z0-9.:_-]{0,255}$'),
	probe_interval_ms integer NOT NULL DEFAULT 400
		CONSTRAINT services_probe_interval CHECK (probe_interval_ms BETWEEN 10 AND 3600000),
	probe_timeout_ms integer NOT NULL DEFAULT 250
		CONSTRAINT services_probe_timeout CHECK (probe_timeout_ms BETWEEN 10 AND 60000),
	probe_fast_interval_ms integer NOT NULL DEFAULT 100
		CONSTRAINT services_probe_fast_interval CHECK (probe_fast_interval_ms BETWEEN 10 AND 3600000),
	probe_down_interval_ms integer NOT NULL DEFAULT 1000
		CONSTRAINT services_probe_down_interval CHECK (probe_down_interval_ms BETWEEN 10 AND 3600000),
	probe_rise integer NOT NULL DEFAULT 4
		CONSTRAINT services_probe_rise CHECK (probe_rise BETWEEN 1 AND 100),
	probe_fall integer NOT NULL DEFAULT 3
		CONSTRAINT services_probe_fall CHECK (probe_fall BETWEEN 1 AND 100),
	probe_clear integer NOT NULL DEFAULT 10
		CONSTRAINT services_probe_clear CHECK (probe_clear BETWEEN 1 AND 100),
	CONSTRAINT services_vip_port_protocol_key UNIQUE (vip, port, protocol)
		DEFERRABLE INITIALLY IMMEDIATE,
	CONSTRAINT services_probe_needs_port CHECK (probe_kind = 'none' OR port > 0 OR probe_port > 0)
);
COMMENT ON TABLE geostream.services IS 'public addresses edges forward packets for';
COMMENT ON COLUMN geostream.services.port IS '0: every port';
COMMENT ON COLUMN geostream.services.probe_port IS '0: the service''s port';
COMMENT ON COLUMN geostream.services.probe_host IS 'HTTP Host header; empty: the VIP';
COMMENT ON CONSTRAINT services_id ON geostream.services IS 'an id of a service is 1 to 1023';
COMMENT ON CONSTRAINT services_name ON geostream.services IS
	'a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -';
COMMENT ON CONSTRAINT services_name_key ON geostream.services IS 'another service has this name';
COMMENT ON CONSTRAINT services_vip ON geostream.services IS
	'a VIP is one unicast address: not unspecified, loopback, multicast, link-local, reserved or IPv4-mapped';
COMMENT ON CONSTRAINT services_port ON geostream.services IS 'a port is 0 (every port) to 65535';
COMMENT ON CONSTRAINT services_protocol ON geostream.services IS 'protocol is tcp or udp';
COMMENT ON CONSTRAINT services_policy_fkey ON geostream.services IS
	'a service''s policy exists, and a policy in use stays';
COMMENT ON CONSTRAINT services_vip_port_protocol_key ON geostream.services IS
	'another service has this VIP, port and protocol';
COMMENT ON CONSTRAINT services_probe_kind ON geostream.services IS 'a probe''s kind is none, tcp or http';
COMMENT ON CONSTRAINT services_probe_port ON geostream.services IS
	'a probe''s port is 0 (the service''s port) to 65535';
COMMENT ON CONSTRAINT services_probe_needs_port ON geostream.services IS
	'a service of every port (0) needs a probe port, or probe kind none';
COMMENT ON CONSTRAINT services_probe_path ON geostream.services IS
	'a probe''s path begins with / and is up to 255 printable ASCII characters without blanks';
COMMENT ON CONSTRAINT services_probe_host ON geostream.services IS
	'a probe''s host is a host name or address, with or without :port';
COMMENT ON CONSTRAINT services_probe_interval ON geostream.services IS
	'a probe''s interval is 10 to 3600000 ms';
COMMENT ON CONSTRAINT services_probe_timeout ON geostream.services IS 'a probe''s timeout is 10 to 60000 ms';
COMMENT ON CONSTRAINT services_probe_fast_interval ON geostream.services IS
	'a probe''s fast interval is 10 to 3600000 ms';
COMMENT ON CONSTRAINT services_probe_down_interval ON geostream.services IS
	'a probe''s down interval is 10 to 3600000 ms';
COMMENT ON CONSTRAINT services_probe_rise ON geostream.services IS 'rise is 1 to 100 probes';
COMMENT ON CONSTRAINT services_probe_fall ON geostream.services IS 'fall is 1 to 100 probes';
COMMENT ON CONSTRAINT services_probe_clear ON geostream.services IS 'clear is 1 to 100 probes';

-- ---- backends ----------------------------------------------------------------------------------
CREATE TABLE geostream.backends (
	id integer NOT NULL CONSTRAINT backends_pkey PRIMARY KEY
		CONSTRAINT backends_id CHECK (id BETWEEN 1 AND 16383),
	name text COLLATE "C" NOT NULL CONSTRAINT backends_name_key UNIQUE
		CONSTRAINT backends_name CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	service integer NOT NULL CONSTRAINT backends_service_fkey REFERENCES geostream.services (id),
	region integer NOT NULL CONSTRAINT backends_region_fkey REFERENCES geostream.regions (id),
	address inet NOT NULL CONSTRAINT backends_address CHECK (geostream.is_host(address)),
	weight integer NOT NULL DEFAULT 100 CONSTRAINT backends_weight CHECK (weight BETWEEN 1 AND 1000),
	admin text NOT NULL DEFAULT 'auto'
		CONSTRAINT backends_admin CHECK (admin IN ('auto', 'force_up', 'drain', 'maintenance', 'force_down')),
	CONSTRAINT backends_service_address_key UNIQUE (service, address) DEFERRABLE INITIALLY IMMEDIATE
);
CREATE INDEX backends_region ON geostream.backends (region);
CREATE INDEX backends_address_index ON geostream.backends (address);
COMMENT ON TABLE geostream.backends IS 'servers of one service in one region';
COMMENT ON CONSTRAINT backends_id ON geostream.backends IS 'an id of a backend is 1 to 16383';
COMMENT ON CONSTRAINT backends_name ON geostream.backends IS
	'a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -';
COMMENT ON CONSTRAINT backends_name_key ON geostream.backends IS 'another backend has this name';
COMMENT ON CONSTRAINT backends_service_fkey ON geostream.backends IS
	'a backend''s service exists, and a service with backends stays';
COMMENT ON CONSTRAINT backends_region_fkey ON geostream.backends IS
	'a backend''s region exists, and a region with backends stays';
COMMENT ON CONSTRAINT backends_address ON geostream.backends IS
	'a backend''s address is one unicast address: not unspecified, loopback, multicast, link-local, reserved or IPv4-mapped';
COMMENT ON CONSTRAINT backends_service_address_key ON geostream.backends IS
	'another backend of the service has this address';
COMMENT ON CONSTRAINT backends_weight ON geostream.backends IS 'a weight is 1 to 1000';
COMMENT ON CONSTRAINT backends_admin ON geostream.backends IS
	'admin is auto, force_up, drain, maintenance or force_down';

-- ---- overrides ---------------------------------------------------------------------------------
CREATE TABLE geostream.overrides (
	prefix cidr NOT NULL CONSTRAINT overrides_pkey PRIMARY KEY
		CONSTRAINT overrides_prefix CHECK (NOT inet(prefix) <<= '::ffff:0:0/96'),
	region integer NOT NULL CONSTRAINT overrides_region_fkey REFERENCES geostream.regions (id),
	reason text NOT NULL DEFAULT ''
		CONSTRAINT overrides_reason CHECK (octet_length(reason) <= 127 AND reason !~ '[[:cntrl:]]')
);
CREATE INDEX overrides_prefix_gist ON geostream.overrides USING gist (prefix inet_ops);
CREATE INDEX overrides_region ON geostream.overrides (region);
COMMENT ON TABLE geostream.overrides IS
	'clients in this prefix go to this region first, whatever the GeoIP database says';
COMMENT ON CONSTRAINT overrides_pkey ON geostream.overrides IS 'there is an override for this prefix';
COMMENT ON CONSTRAINT overrides_prefix ON geostream.overrides IS
	'an IPv4 prefix is written as one, not as ::ffff:a.b.c.d';
COMMENT ON CONSTRAINT overrides_region_fkey ON geostream.overrides IS
	'an override''s region exists, and a region with overrides stays';
COMMENT ON CONSTRAINT overrides_reason ON geostream.overrides IS
	'a reason is up to 127 bytes of text without control characters';

-- ---- what one row cannot tell ------------------------------------------------------------------
-- A VIP that is a backend's address would send packets round in a loop. Free of races, since
-- whoever writes either table holds the lock of the revision row by now.
CREATE FUNCTION geostream.refuse_vip_loop() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	clash record;
BEGIN
	IF TG_TABLE_NAME = 'services' THEN
		SELECT s.name AS service, s.vip AS address, b.name AS backend INTO clash
		FROM geostream.services s JOIN geostream.backends b ON b.address = s.vip
		WHERE s.id = NEW.id LIMIT 1;
	ELSE
		SELECT s.name AS service, s.vip AS address, b.name AS backend INTO clash
		FROM geostream.services s JOIN geostream.backends b ON b.address = s.vip
		WHERE b.id = NEW.id LIMIT 1;
	END IF;
	IF FOUND THEN
		RAISE EXCEPTION '% is the VIP of service % and the address of backend %: packets would loop',
			host(clash.address), clash.service, clash.backend
			USING ERRCODE = 'check_violation', SCHEMA = 'geostream', TABLE = TG_TABLE_NAME,
				CONSTRAINT = TG_NAME;
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER services_vip_is_no_backend AFTER INSERT OR UPDATE OF vip
	ON geostream.services DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION geostream.refuse_vip_loop();
CREATE CONSTRAINT TRIGGER backends_address_is_no_vip AFTER INSERT OR UPDATE OF address
	ON geostream.backends DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION geostream.refuse_vip_loop();
COMMENT ON TRIGGER services_vip_is_no_backend ON geostream.services IS
	'a VIP is no backend''s address: packets would loop';
COMMENT ON TRIGGER backends_address_is_no_vip ON geostream.backends IS
	'a backend''s address is no VIP: packets would loop';

-- The default order is mandatory; checked at commit, when policy and order are both written.
CREATE FUNCTION geostream.require_order() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	orderless text;
BEGIN
	SELECT p.name INTO orderless FROM geostream.policies p
	WHERE NOT EXISTS (SELECT FROM geostream.policy_regions r WHERE r.policy = p.id) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'policy % has no default order: clients of unknown location could go nowhere',
			orderless
			USING ERRCODE = 'check_violation', SCHEMA = 'geostream', TABLE = TG_TABLE_NAME,
				CONSTRAINT = 'policies_have_order';
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER policies_have_order AFTER INSERT ON geostream.policies
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION geostream.require_order();
CREATE CONSTRAINT TRIGGER policies_have_order AFTER DELETE OR UPDATE ON geostream.policy_regions
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION geostream.require_order();
CREATE TRIGGER policies_have_order_truncated AFTER TRUNCATE ON geostream.policy_regions
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.require_order();
COMMENT ON TRIGGER policies_have_order ON geostream.policies IS 'a policy has a default order';

-- No more overrides than the tries hold, of each family.
CREATE FUNCTION geostream.limit_overrides() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	most bigint;
BEGIN
	SELECT max(n) INTO most FROM
		(SELECT count(*) AS n FROM geostream.overrides GROUP BY family(prefix)) AS counted;
	IF most > 65536 THEN
		RAISE EXCEPTION 'more than 65536 overrides of one family'
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream', TABLE = 'overrides',
				CONSTRAINT = 'overrides_limit';
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER overrides_limit AFTER INSERT OR UPDATE ON geostream.overrides
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.limit_overrides();

SELECT geostream.manage_ids('geostream.regions', 255);
SELECT geostream.manage_ids('geostream.policies', 255);
SELECT geostream.manage_ids('geostream.services', 1023);
SELECT geostream.manage_ids('geostream.backends', 16383);
SELECT geostream.track('geostream.regions');
SELECT geostream.track('geostream.policies');
SELECT geostream.track('geostream.policy_regions');
SELECT geostream.track('geostream.services');
SELECT geostream.track('geostream.backends');
SELECT geostream.track('geostream.overrides');

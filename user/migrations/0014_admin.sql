-- SPDX-License-Identifier: Apache-2.0
-- Operators' hands on regions, pools and backends until some time; and what a service does when so
-- little of it is healthy that health is no guide any more.

-- ---- panic ---------------------------------------------------------------------------------------
ALTER TABLE geostream.services
	ADD COLUMN panic_percent integer NOT NULL DEFAULT 50
		CONSTRAINT services_panic_percent CHECK (panic_percent BETWEEN 0 AND 100),
	ADD COLUMN panic_all_down text NOT NULL DEFAULT 'serve_any'
		CONSTRAINT services_panic_all_down CHECK
			(panic_all_down IN ('serve_any', 'last_good', 'fixed', 'fail_closed')),
	ADD COLUMN panic_region integer
		CONSTRAINT services_panic_region_fkey REFERENCES geostream.regions (id),
	ADD CONSTRAINT services_panic_region CHECK
		((panic_all_down = 'fixed') = (panic_region IS NOT NULL));
CREATE INDEX services_by_panic_region ON geostream.services (panic_region)
	WHERE panic_region IS NOT NULL;
COMMENT ON COLUMN geostream.services.panic_percent IS
	'percent of weight that is healthy; below it, if what is healthy cannot take everybody, health is ignored; 0: never';
COMMENT ON COLUMN geostream.services.panic_all_down IS
	'what serves when nothing is healthy. serve_any: everything; last_good: what was healthy last; fixed: panic_region; fail_closed: nothing';
COMMENT ON COLUMN geostream.services.panic_region IS 'of panic_all_down fixed';
COMMENT ON CONSTRAINT services_panic_percent ON geostream.services IS
	'a service panics below 0 (never) to 100 percent';
COMMENT ON CONSTRAINT services_panic_all_down ON geostream.services IS
	'panic_all_down is serve_any, last_good, fixed or fail_closed';
COMMENT ON CONSTRAINT services_panic_region_fkey ON geostream.services IS
	'panic_region is a region that exists';
COMMENT ON CONSTRAINT services_panic_region ON geostream.services IS
	'panic_all_down fixed names a panic_region, the others have none';

-- ---- overlays ------------------------------------------------------------------------------------
-- Versions, so that whoever changes one says which he has seen. Never used twice, whatever is
-- removed meanwhile.
CREATE SEQUENCE geostream.overlay_versions;
CREATE TABLE geostream.overlays (
	region text COLLATE "C" CONSTRAINT overlays_region_fkey
		REFERENCES geostream.regions (name) ON UPDATE CASCADE ON DELETE CASCADE,
	service text COLLATE "C" CONSTRAINT overlays_service_fkey
		REFERENCES geostream.services (name) ON UPDATE CASCADE ON DELETE CASCADE,
	backend text COLLATE "C" CONSTRAINT overlays_backend_fkey
		REFERENCES geostream.backends (name) ON UPDATE CASCADE ON DELETE CASCADE,
	edge text NOT NULL DEFAULT ''
		CONSTRAINT overlays_edge CHECK (octet_length(edge) <= 63 AND edge !~ '[[:cntrl:]]'),
	admin text NOT NULL CONSTRAINT overlays_admin
		CHECK (admin IN ('auto', 'force_up', 'drain', 'maintenance', 'force_down')),
	reason text NOT NULL DEFAULT ''
		CONSTRAINT overlays_reason CHECK (octet_length(reason) <= 127 AND reason !~ '[[:cntrl:]]'),
	actor text NOT NULL DEFAULT geostream.actor()
		CONSTRAINT overlays_actor CHECK (octet_length(actor) <= 63 AND actor !~ '[[:cntrl:]]'),
	ticket text NOT NULL DEFAULT ''
		CONSTRAINT overlays_ticket CHECK (octet_length(ticket) <= 63 AND ticket !~ '[[:cntrl:]]'),
	made_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz
		CONSTRAINT overlays_expires CHECK (expires_at > made_at
			AND expires_at <= made_at + interval '90 days'),
	supersedes boolean NOT NULL DEFAULT false,
	forced boolean NOT NULL DEFAULT false,
	version bigint NOT NULL DEFAULT nextval('geostream.overlay_versions'),
	name text GENERATED ALWAYS AS (coalesce(backend, coalesce(service || '@', '') || region)
		|| CASE WHEN edge = '' THEN '' ELSE ' on ' || edge END) STORED,
	CONSTRAINT overlays_object CHECK ((backend IS NULL) = (region IS NOT NULL)
		AND (service IS NULL OR region IS NOT NULL)),
	CONSTRAINT overlays_must_expire CHECK
		(admin NOT IN ('force_up', 'force_down') OR expires_at IS NOT NULL),
	CONSTRAINT overlays_version UNIQUE (version)
);
CREATE UNIQUE INDEX overlays_key ON geostream.overlays
	((coalesce(region, '')), (coalesce(service, '')), (coalesce(backend, '')), edge);
CREATE INDEX overlays_by_region ON geostream.overlays (region);
CREATE INDEX overlays_by_service ON geostream.overlays (service);
CREATE INDEX overlays_by_backend ON geostream.overlays (backend);
COMMENT ON TABLE geostream.overlays IS
	'what operators say of a region, a pool (service and region) or a backend instead of its own admin, until it expires; part of the desired state, not of a configuration document';
COMMENT ON COLUMN geostream.overlays.edge IS 'on one edge; empty: on all. One that names the edge wins';
COMMENT ON COLUMN geostream.overlays.admin IS
	'drain: known flows only; maintenance, force_down: none; force_up: health is ignored; auto: health decides, whatever the configuration says';
COMMENT ON COLUMN geostream.overlays.expires_at IS 'by this database''s clock; NULL: does not expire';
COMMENT ON COLUMN geostream.overlays.supersedes IS
	'what single edges have laid over the object before made_at is dropped there';
COMMENT ON COLUMN geostream.overlays.forced IS 'it was made against the rules of what has to be left';
COMMENT ON COLUMN geostream.overlays.version IS 'another with every change, never used twice';
COMMENT ON COLUMN geostream.overlays.name IS 'as the audit has it';
COMMENT ON CONSTRAINT overlays_region_fkey ON geostream.overlays IS 'an overlay is of a region that exists';
COMMENT ON CONSTRAINT overlays_service_fkey ON geostream.overlays IS 'an overlay is of a service that exists';
COMMENT ON CONSTRAINT overlays_backend_fkey ON geostream.overlays IS 'an overlay is of a backend that exists';
COMMENT ON CONSTRAINT overlays_edge ON geostream.overlays IS
	'an edge''s name is up to 63 bytes without control characters';
COMMENT ON CONSTRAINT overlays_admin ON geostream.overlays IS
	'admin is auto, force_up, drain, maintenance or force_down';
COMMENT ON CONSTRAINT overlays_reason ON geostream.overlays IS
	'a reason is up to 127 bytes of text without control characters';
COMMENT ON CONSTRAINT overlays_actor ON geostream.overlays IS
	'an actor is up to 63 bytes of text without control characters';
COMMENT ON CONSTRAINT overlays_ticket ON geostream.overlays IS
	'a ticket is up to 63 bytes of text without control characters';
COMMENT ON CONSTRAINT overlays_expires ON geostream.overlays IS
	'an overlay expires after it was made, within 90 days';
COMMENT ON CONSTRAINT overlays_object ON geostream.overlays IS
	'an overlay is of a region, of a service in a region, or of a backend';
COMMENT ON CONSTRAINT overlays_must_expire ON geostream.overlays IS
	'force_up and force_down have to expire';
COMMENT ON CONSTRAINT overlays_version ON geostream.overlays IS 'a version is never used twice';

-- What changes is another version of it.
CREATE FUNCTION geostream.next_overlay_version() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	NEW.version := nextval('geostream.overlay_versions');
	RETURN NEW;
END $$;
CREATE TRIGGER b_next_version BEFORE UPDATE ON geostream.overlays FOR EACH ROW
	EXECUTE FUNCTION geostream.next_overlay_version();

ALTER TABLE geostream.audit
	DROP CONSTRAINT audit_kind,
	ADD CONSTRAINT audit_kind CHECK (kind IN ('region', 'policy', 'service', 'backend', 'override',
		'access', 'fence', 'force', 'overlay', 'seed'));
SELECT geostream.track('geostream.overlays');
SELECT geostream.audited('geostream.overlays', 'overlay');

-- SPDX-License-Identifier: Apache-2.0
-- History: transitions, minutes of probes and the audit, each a partitioned table that loses whole
-- partitions when they are old enough.

-- ---- the partitioned tables ------------------------------------------------------------------------
ALTER TABLE geostream.transitions RENAME TO transitions_before;
ALTER TABLE geostream.transitions_before RENAME CONSTRAINT transitions_pkey TO transitions_before_pkey;
ALTER TABLE geostream.transitions_before RENAME CONSTRAINT transitions_once TO transitions_before_once;
ALTER TABLE geostream.transitions_before RENAME CONSTRAINT transitions_kind TO transitions_before_kind;
ALTER INDEX geostream.transitions_at RENAME TO transitions_before_at;

CREATE SEQUENCE geostream.transition_ids;
CREATE TABLE geostream.transitions (
	id bigint NOT NULL DEFAULT nextval('geostream.transition_ids'),
	edge text NOT NULL,
	run bigint NOT NULL,
	number bigint NOT NULL,
	at timestamptz NOT NULL,
	kind text NOT NULL CONSTRAINT transitions_kind
		CHECK (kind IN ('region', 'pool', 'backend', 'breaker', 'plan', 'generation')),
	region text NOT NULL DEFAULT '',
	service text NOT NULL DEFAULT '',
	backend text NOT NULL DEFAULT '',
	from_state text NOT NULL,
	to_state text NOT NULL,
	why text NOT NULL DEFAULT '',
	actor text NOT NULL DEFAULT '',
	CONSTRAINT transitions_pkey PRIMARY KEY (id, at),
	CONSTRAINT transitions_once UNIQUE (edge, run, number, at)
) PARTITION BY RANGE (at);
CREATE INDEX transitions_at ON geostream.transitions (at);
COMMENT ON TABLE geostream.transitions IS 'every change of a state, once, in each edge''s order';
COMMENT ON COLUMN geostream.transitions.run IS
	'random number of the daemon''s run: with number the key that makes writing again harmless';
COMMENT ON COLUMN geostream.transitions.number IS 'counts the transitions of a run from 1';
COMMENT ON COLUMN geostream.transitions.kind IS
	'region, pool, backend: its word; breaker: of a pool; plan: how many locations have the region first for the service; generation: of the edge';
COMMENT ON COLUMN geostream.transitions.actor IS 'who caused it; empty: the edge itself';
COMMENT ON CONSTRAINT transitions_once ON geostream.transitions IS 'each transition is written once';

CREATE TABLE geostream.probe_minutes (
	minute timestamptz NOT NULL,
	edge text NOT NULL,
	service text NOT NULL,
	region text NOT NULL,
	backend text NOT NULL,
	probes integer NOT NULL CONSTRAINT probe_minutes_probes CHECK (probes >= 0),
	failures integer NOT NULL CONSTRAINT probe_minutes_failures CHECK (failures BETWEEN 0 AND probes),
	local_failures integer NOT NULL DEFAULT 0
		CONSTRAINT probe_minutes_local CHECK (local_failures >= 0),
	p50_us integer, p90_us integer, p99_us integer, max_us integer,
	CONSTRAINT probe_minutes_pkey PRIMARY KEY (minute, edge, backend)
) PARTITION BY RANGE (minute);
CREATE INDEX probe_minutes_backend ON geostream.probe_minutes (backend, minute);
COMMENT ON TABLE geostream.probe_minutes IS 'what each edge''s probes of a backend came to in a minute';
COMMENT ON COLUMN geostream.probe_minutes.probes IS 'that counted, failed ones included';
COMMENT ON COLUMN geostream.probe_minutes.local_failures IS
	'that counted neither for nor against: the edge''s own trouble';
COMMENT ON COLUMN geostream.probe_minutes.p50_us IS
	'of the successful ones, as are p90, p99 and max; NULL: there were none';

CREATE SEQUENCE geostream.audit_ids;
CREATE TABLE geostream.audit (
	id bigint NOT NULL DEFAULT nextval('geostream.audit_ids'),
	at timestamptz NOT NULL DEFAULT now(),
	revision bigint NOT NULL,
	xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
	actor text NOT NULL,
	role text NOT NULL,
	application text NOT NULL DEFAULT '',
	client inet,
	kind text NOT NULL
		CONSTRAINT audit_kind CHECK (kind IN ('region', 'policy', 'service', 'backend', 'override', 'force', 'seed')),
	name text NOT NULL,
	before jsonb,
	after jsonb,
	CONSTRAINT audit_pkey PRIMARY KEY (id, at),
	CONSTRAINT audit_changes CHECK (before IS DISTINCT FROM after)
) PARTITION BY RANGE (at);
-- No index on the time alone: a transaction's thousands of rows share it, and note_change would be
-- quadratic by it. Whole partitions bound what has to be looked at.
CREATE INDEX audit_object ON geostream.audit (kind, name, at);
COMMENT ON TABLE geostream.audit IS
	'every change of the desired state, however it was made: a row a transaction and object';
COMMENT ON COLUMN geostream.audit.revision IS 'the one the change made';
COMMENT ON COLUMN geostream.audit.actor IS 'who, as they said (geostream.actor()); role is who they connected as';
COMMENT ON COLUMN geostream.audit.client IS 'the address they connected from; NULL: a local socket';
COMMENT ON COLUMN geostream.audit.before IS 'the object as it was, by names; NULL: it was not there';
COMMENT ON COLUMN geostream.audit.after IS 'as it is; NULL: it was removed';
COMMENT ON CONSTRAINT audit_changes ON geostream.audit IS 'what did not change is no change';

-- ---- partitions and retention ----------------------------------------------------------------------
CREATE TABLE geostream.retention (
	history text NOT NULL CONSTRAINT retention_pkey PRIMARY KEY
		CONSTRAINT retention_history CHECK (history IN ('transitions', 'probe_minutes', 'audit')),
	column_name text NOT NULL,
	span text NOT NULL CONSTRAINT retention_span CHECK (span IN ('day', 'week', 'month')),
	keep_days integer NOT NULL CONSTRAINT retention_keep CHECK (keep_days BETWEEN 1 AND 36500)
);
COMMENT ON TABLE geostream.retention IS
	'how long history is kept: UPDATE geostream.retention SET keep_days = 30 WHERE history = ''transitions''';
COMMENT ON COLUMN geostream.retention.span IS 'what one partition holds';
COMMENT ON CONSTRAINT retention_keep ON geostream.retention IS 'history is kept for 1 to 36500 days';
INSERT INTO geostream.retention (history, column_name, span, keep_days) VALUES
	('transitions', 'at', 'week', 90), ('probe_minutes', 'minute', 'day', 14), ('audit', 'at', 'month', 730);

-- What falls into no partition waits here; maintain() moves it.
CREATE TABLE geostream.transitions_default PARTITION OF geostream.transitions DEFAULT;
CREATE TABLE geostream.probe_minutes_default PARTITION OF geostream.probe_minutes DEFAULT;
CREATE TABLE geostream.audit_default PARTITION OF geostream.audit DEFAULT;

-- The partition of `history` that holds `moment`, made if it is not there. UTC, whatever the session's.
CREATE FUNCTION geostream.make_partition(rule geostream.retention, moment timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' SET search_path = pg_catalog AS $$
DECLARE
	begins timestamptz := date_trunc(rule.span, moment);
	ends timestamptz := begins + ('1 ' || rule.span)::interval;
	name text := rule.history || '_' || to_char(begins, 'YYYYMMDD');
BEGIN
	IF to_regclass(format('geostream.%I', name)) IS NOT NULL THEN
		RETURN;
	END IF;
	EXECUTE format('CREATE TABLE geostream.%I (LIKE geostream.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
		name, rule.history);
	EXECUTE format('WITH moved AS (DELETE FROM geostream.%I WHERE %I >= %L AND %I < %L RETURNING *) '
		'INSERT INTO geostream.%I SELECT * FROM moved', rule.history || '_default',
		rule.column_name, begins, rule.column_name, ends, name);
	EXECUTE format('ALTER TABLE geostream.%I ATTACH PARTITION geostream.%I FOR VALUES FROM (%L) TO (%L)',
		rule.history, name, begins, ends);
END $$;

-- Partitions ahead of need, none beyond retention. Any edge may call it at any time: one at a time
-- does the work, and it waits for nobody.
CREATE FUNCTION geostream.maintain() RETURNS TABLE (dropped bigint)
LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' SET search_path = pg_catalog
SET lock_timeout = '2s' AS $$
DECLARE
	rule geostream.retention;
	old record;
	oldest timestamptz;
BEGIN
	dropped := 0;
	IF NOT pg_try_advisory_xact_lock(x'47656f'::integer, 1) THEN
		RETURN NEXT;
		RETURN;
	END IF;
	FOR rule IN SELECT * FROM geostream.retention ORDER BY history LOOP
		FOR ahead IN 0 .. 2 LOOP
			PERFORM geostream.make_partition(rule, now() + ahead * ('1 ' || rule.span)::interval);
		END LOOP;
		oldest := now() - rule.keep_days * interval '1 day';
		FOR old IN
			SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = format('geostream.%I', rule.history)::regclass
				AND c.relname ~ '_[0-9]{8}$'
				AND to_timestamp(right(c.relname, 8), 'YYYYMMDD') + ('1 ' || rule.span)::interval <= oldest
		LOOP
			EXECUTE format('DROP TABLE geostream.%I', old.relname);
			dropped := dropped + 1;
		END LOOP;
		EXECUTE format('DELETE FROM geostream.%I WHERE %I < %L', rule.history || '_default',
			rule.column_name, oldest);
	END LOOP;
	DELETE FROM geostream.breaker_forces WHERE expires_at < now() - interval '1 day';
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION geostream.maintain() IS
	'makes partitions ahead of need, drops those beyond retention; edges call it every hour';

INSERT INTO geostream.transitions (id, edge, run, number, at, kind, region, service, backend, from_state,
	to_state, why)
SELECT id, edge, run, number, at, kind, region, service, backend, from_state, to_state, why
FROM geostream.transitions_before;
SELECT setval('geostream.transition_ids', coalesce((SELECT max(id) FROM geostream.transitions_before), 0) + 1, false);
DROP TABLE geostream.transitions_before;

-- ---- objects by their names ------------------------------------------------------------------------
CREATE FUNCTION geostream.region_name(wanted integer) RETURNS text
LANGUAGE sql STABLE RETURN (SELECT name FROM geostream.regions WHERE id = wanted);
CREATE FUNCTION geostream.service_name(wanted integer) RETURNS text
LANGUAGE sql STABLE RETURN (SELECT name FROM geostream.services WHERE id = wanted);
CREATE FUNCTION geostream.policy_name(wanted integer) RETURNS text
LANGUAGE sql STABLE RETURN (SELECT name FROM geostream.policies WHERE id = wanted);

CREATE FUNCTION geostream.describe_policy(policy geostream.policies, region_order jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object('name', policy.name, 'kind', policy.kind, 'order', region_order);
CREATE FUNCTION geostream.current_order(wanted integer) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (SELECT coalesce(jsonb_agg(geostream.region_name(o.region) ORDER BY o.position), '[]')
	FROM geostream.policy_regions o WHERE o.policy = wanted);

-- ---- the audit -------------------------------------------------------------------------------------
-- One row a transaction and object: what it was before the transaction, what it is after. A change
-- that is taken back within it leaves no row.
CREATE FUNCTION geostream.note_change(changed_kind text, changed_name text, was jsonb, now_is jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
SET jit = off -- one row, thousands of times: compiling costs more than it saves
SET enable_bitmapscan = off SET enable_seqscan = off -- a partition that is empty when this is planned holds thousands when it is run
AS $$
DECLARE
	noted record;
BEGIN
	SELECT a.id, a.before INTO noted FROM geostream.audit a
	WHERE a.at = now() AND a.kind = changed_kind AND a.name = changed_name
		AND a.xid = pg_current_xact_id();
	IF FOUND THEN
		IF noted.before IS NOT DISTINCT FROM now_is THEN
			DELETE FROM geostream.audit a WHERE a.at = now() AND a.id = noted.id;
		ELSE
			UPDATE geostream.audit a SET after = now_is WHERE a.at = now() AND a.id = noted.id;
		END IF;
		RETURN;
	END IF;
	IF was IS NOT DISTINCT FROM now_is THEN
		RETURN;
	END IF;
	INSERT INTO geostream.audit (revision, actor, role, application, client, kind, name, before, after)
	SELECT r.revision + CASE WHEN r.changed_by = pg_current_xact_id() THEN 0 ELSE 1 END,
		geostream.actor(), session_user, coalesce(current_setting('application_name', true), ''),
		inet_client_addr(), changed_kind, changed_name, was, now_is
	FROM geostream.revision r;
END $$;

-- A row of any table but policy_regions, as an object. TG_ARGV[0] of the triggers is the kind.
CREATE FUNCTION geostream.describe_row(kind text, columns jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE kind
	WHEN 'service' THEN columns - 'id' || jsonb_build_object(
		'policy', geostream.policy_name((columns ->> 'policy')::integer))
	WHEN 'backend' THEN columns - 'id' || jsonb_build_object(
		'service', geostream.service_name((columns ->> 'service')::integer),
		'region', geostream.region_name((columns ->> 'region')::integer))
	WHEN 'override' THEN columns || jsonb_build_object(
		'region', geostream.region_name((columns ->> 'region')::integer))
	WHEN 'policy' THEN columns - 'id' || jsonb_build_object(
		'order', geostream.current_order((columns ->> 'id')::integer))
	ELSE columns - 'id'
END;

CREATE FUNCTION geostream.object_name(kind text, columns jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE kind
	WHEN 'override' THEN columns ->> 'prefix'
	WHEN 'force' THEN concat_ws('/', columns ->> 'service', columns ->> 'region',
		nullif(columns ->> 'edge', ''))
	ELSE columns ->> 'name'
END;

CREATE FUNCTION geostream.audit_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	was jsonb;
	now_is jsonb;
BEGIN
	IF TG_OP <> 'INSERT' THEN
		was := geostream.describe_row(TG_ARGV[0], to_jsonb(OLD));
	END IF;
	IF TG_OP <> 'DELETE' THEN
		now_is := geostream.describe_row(TG_ARGV[0], to_jsonb(NEW));
	END IF;
	IF TG_OP = 'UPDATE' AND geostream.object_name(TG_ARGV[0], was) <> geostream.object_name(TG_ARGV[0], now_is) THEN
		PERFORM geostream.note_change(TG_ARGV[0], geostream.object_name(TG_ARGV[0], was), was, NULL);
		was := NULL;
	END IF;
	PERFORM geostream.note_change(TG_ARGV[0], geostream.object_name(TG_ARGV[0], coalesce(now_is, was)), was, now_is);
	RETURN CASE WHEN TG_WHEN = 'BEFORE' THEN OLD ELSE NULL END;
END $$;

CREATE FUNCTION geostream.audit_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	gone jsonb;
BEGIN
	FOR gone IN EXECUTE format('SELECT to_jsonb(t) FROM geostream.%I t', TG_TABLE_NAME) LOOP
		PERFORM geostream.note_change(TG_ARGV[0], geostream.object_name(TG_ARGV[0], gone),
			geostream.describe_row(TG_ARGV[0], gone), NULL);
	END LOOP;
	RETURN NULL;
END $$;

-- The default order is a part of its policy. The order before a statement: what is there now, less
-- what the statement brought, and what it took away.
CREATE FUNCTION geostream.audit_orders(took jsonb, brought jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	policy geostream.policies;
BEGIN
	FOR policy IN SELECT p.* FROM geostream.policies p WHERE p.id IN
		(SELECT (value ->> 'policy')::integer FROM jsonb_array_elements(took || brought)) LOOP
		PERFORM geostream.note_change('policy', policy.name,
			geostream.describe_policy(policy, (
				SELECT coalesce(jsonb_agg(geostream.region_name((o ->> 'region')::integer)
					ORDER BY (o ->> 'position')::integer), '[]')
				FROM ((SELECT to_jsonb(c) AS o FROM geostream.policy_regions c WHERE c.policy = policy.id
					EXCEPT SELECT value FROM jsonb_array_elements(brought))
					UNION SELECT value FROM jsonb_array_elements(took)
					WHERE (value ->> 'policy')::integer = policy.id) AS earlier)),
			geostream.describe_policy(policy, geostream.current_order(policy.id)));
	END LOOP;
END $$;

CREATE FUNCTION geostream.orders_inserted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM geostream.audit_orders('[]', (SELECT coalesce(jsonb_agg(a), '[]') FROM after_rows a));
	RETURN NULL;
END $$;
CREATE FUNCTION geostream.orders_updated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM geostream.audit_orders((SELECT coalesce(jsonb_agg(b), '[]') FROM before_rows b),
		(SELECT coalesce(jsonb_agg(a), '[]') FROM after_rows a));
	RETURN NULL;
END $$;
CREATE FUNCTION geostream.orders_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM geostream.audit_orders((SELECT coalesce(jsonb_agg(b), '[]') FROM before_rows b), '[]');
	RETURN NULL;
END $$;
CREATE FUNCTION geostream.orders_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	policy geostream.policies;
BEGIN
	FOR policy IN SELECT p.* FROM geostream.policies p LOOP
		PERFORM geostream.note_change('policy', policy.name,
			geostream.describe_policy(policy, geostream.current_order(policy.id)),
			geostream.describe_policy(policy, '[]'));
	END LOOP;
	RETURN NULL;
END $$;
CREATE TRIGGER m_audit_inserted AFTER INSERT ON geostream.policy_regions
	REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION geostream.orders_inserted();
CREATE TRIGGER m_audit_updated AFTER UPDATE ON geostream.policy_regions
	REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.orders_updated();
CREATE TRIGGER m_audit_deleted AFTER DELETE ON geostream.policy_regions
	REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION geostream.orders_deleted();
CREATE TRIGGER m_audit_truncated BEFORE TRUNCATE ON geostream.policy_regions
	FOR EACH STATEMENT EXECUTE FUNCTION geostream.orders_truncated();

-- The seed moves almost every client: who changed it has to be known.
CREATE FUNCTION geostream.audit_seed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
	PERFORM geostream.note_change('seed', 'selection_seed',
		jsonb_build_object('selection_seed', OLD.selection_seed::text),
		jsonb_build_object('selection_seed', NEW.selection_seed::text));
	RETURN NULL;
END $$;
CREATE TRIGGER m_audit_seed AFTER UPDATE OF selection_seed ON geostream.revision FOR EACH ROW
	WHEN (OLD.selection_seed <> NEW.selection_seed) EXECUTE FUNCTION geostream.audit_seed();

-- A policy that goes takes its order with it before anybody could look: so before, not after.
CREATE FUNCTION geostream.audited(changed regclass, kind text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER m_audit AFTER INSERT OR UPDATE ON %s FOR EACH ROW '
		'EXECUTE FUNCTION geostream.audit_row(%L)', changed, kind);
	EXECUTE format('CREATE TRIGGER m_audit_delete BEFORE DELETE ON %s FOR EACH ROW '
		'EXECUTE FUNCTION geostream.audit_row(%L)', changed, kind);
	EXECUTE format('CREATE TRIGGER m_audit_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT '
		'EXECUTE FUNCTION geostream.audit_truncate(%L)', changed, kind);
END $$;
SELECT geostream.audited('geostream.regions', 'region');
SELECT geostream.audited('geostream.policies', 'policy');
SELECT geostream.audited('geostream.services', 'service');
SELECT geostream.audited('geostream.backends', 'backend');
SELECT geostream.audited('geostream.overrides', 'override');
SELECT geostream.audited('geostream.breaker_forces', 'force');

SELECT geostream.maintain();

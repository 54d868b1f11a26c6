-- SPDX-License-Identifier: Apache-2.0
-- The revision protocol and the allocation of ids. README.md tells the whole story.

-- The one row every writer of desired state locks until it commits: so revisions commit in order,
-- and what an edge reads at revision N holds everything that was committed as 1 .. N.
CREATE TABLE geostream.revision (
	only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT revision_only_row CHECK (only_row),
	revision bigint NOT NULL DEFAULT 1 CONSTRAINT revision_positive CHECK (revision > 0),
	changed_by xid8,
	changed_at timestamptz NOT NULL DEFAULT now(),
	selection_seed bigint NOT NULL
);
COMMENT ON TABLE geostream.revision IS
	'the revision of the desired state, and the selection seed all edges share';
COMMENT ON COLUMN geostream.revision.changed_by IS
	'transaction that made this revision: a transaction makes one revision, however much it changes';
COMMENT ON COLUMN geostream.revision.selection_seed IS
	'of slots and Maglev rings; 64 random bits; changing it moves almost every client';

INSERT INTO geostream.revision (selection_seed)
VALUES (('x' || substr(md5(gen_random_uuid()::text || gen_random_uuid()::text), 1, 16))::bit(64)::bigint);

-- Before a statement on desired state: waits for the writer that came first.
CREATE FUNCTION geostream.lock_revision() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM geostream.revision FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'geostream.revision has no row: restore it from a backup'
			USING ERRCODE = 'data_exception';
	END IF;
	RETURN NULL;
END $$;

-- A new revision, once a transaction, and the news of it for LISTEN geostream.
CREATE FUNCTION geostream.bump_revision() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	bumped bigint;
BEGIN
	UPDATE geostream.revision
	SET revision = revision + 1, changed_by = pg_current_xact_id(), changed_at = clock_timestamp()
	WHERE changed_by IS DISTINCT FROM pg_current_xact_id()
	RETURNING revision INTO bumped;
	IF FOUND THEN
		PERFORM pg_notify('geostream', bumped::text);
	END IF;
END $$;

-- After a statement: bumps if it changed something. One function an event, since a trigger
-- that sees the changed rows may have one event only.
CREATE FUNCTION geostream.rows_inserted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM after_rows) THEN
		PERFORM geostream.bump_revision();
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION geostream.rows_updated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT * FROM after_rows EXCEPT ALL SELECT * FROM before_rows) THEN
		PERFORM geostream.bump_revision();
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION geostream.rows_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM before_rows) THEN
		PERFORM geostream.bump_revision();
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION geostream.rows_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM geostream.bump_revision();
	RETURN NULL;
END $$;

-- Makes a table part of the desired state. Trigger names sort: the lock comes first.
CREATE FUNCTION geostream.track(tracked regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER a_lock_revision BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE '
		'ON %s FOR EACH STATEMENT EXECUTE FUNCTION geostream.lock_revision()', tracked);
	EXECUTE format('CREATE TRIGGER z_inserted AFTER INSERT ON %s '
		'REFERENCING NEW TABLE AS after_rows '
		'FOR EACH STATEMENT EXECUTE FUNCTION geostream.rows_inserted()', tracked);
	EXECUTE format('CREATE TRIGGER z_updated AFTER UPDATE ON %s '
		'REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows '
		'FOR EACH STATEMENT EXECUTE FUNCTION geostream.rows_updated()', tracked);
	EXECUTE format('CREATE TRIGGER z_deleted AFTER DELETE ON %s '
		'REFERENCING OLD TABLE AS before_rows '
		'FOR EACH STATEMENT EXECUTE FUNCTION geostream.rows_deleted()', tracked);
	EXECUTE format('CREATE TRIGGER z_truncated AFTER TRUNCATE ON %s '
		'FOR EACH STATEMENT EXECUTE FUNCTION geostream.rows_truncated()', tracked);
END $$;

-- Ids that were in use: flow tables may hold them for a while, so they rest for a day.
CREATE TABLE geostream.retired_ids (
	kind text NOT NULL,
	id integer NOT NULL,
	retired_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (kind, id)
);
COMMENT ON TABLE geostream.retired_ids IS
	'ids of removed objects, not given out again for a day: flows may still hold them';

-- The lowest id of NEW's table that is free and rested. TG_ARGV[0]: the limit of the maps.
-- Within a transaction the search goes on where it ended (ids freed since then are not rested
-- anyway), so that loading thousands of rows is not quadratic.
CREATE FUNCTION geostream.allocate_id() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	mark text := 'geostream.next_' || TG_TABLE_NAME;
	id_limit integer := TG_ARGV[0]::integer;
	candidate integer := NULLIF(current_setting(mark, true), '')::integer;
	taken boolean;
BEGIN
	IF NEW.id IS NOT NULL THEN -- a restored backup
		RETURN NEW;
	END IF;
	IF candidate IS NULL THEN
		EXECUTE format('SELECT g FROM generate_series(1, %s) g WHERE NOT EXISTS '
			'(SELECT FROM geostream.%I t WHERE t.id = g) LIMIT 1', id_limit, TG_TABLE_NAME)
			INTO candidate;
	END IF;
	WHILE candidate <= id_limit LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM geostream.%I WHERE id = $1) OR EXISTS '
			'(SELECT FROM geostream.retired_ids WHERE kind = $2 AND id = $1 '
			'AND retired_at > now() - interval ''1 day'')', TG_TABLE_NAME)
			INTO taken USING candidate, TG_TABLE_NAME;
		EXIT WHEN NOT taken;
		candidate := candidate + 1;
	END LOOP;
	IF candidate IS NULL OR candidate > id_limit THEN
		RAISE EXCEPTION 'no id left for one more of %: % at most, those removed within a day included',
			TG_TABLE_NAME, id_limit
			USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'geostream',
				TABLE = TG_TABLE_NAME, CONSTRAINT = TG_TABLE_NAME || '_limit';
	END IF;
	PERFORM set_config(mark, (candidate + 1)::text, true);
	NEW.id := candidate;
	RETURN NEW;
END $$;

CREATE FUNCTION geostream.retire_id() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO geostream.retired_ids (kind, id) VALUES (TG_TABLE_NAME, OLD.id)
	ON CONFLICT (kind, id) DO UPDATE SET retired_at = EXCLUDED.retired_at;
	RETURN NULL;
END $$;

CREATE FUNCTION geostream.retire_all_ids() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO geostream.retired_ids (kind, id) SELECT $1, id FROM geostream.%I '
		'ON CONFLICT (kind, id) DO UPDATE SET retired_at = EXCLUDED.retired_at', TG_TABLE_NAME)
		USING TG_TABLE_NAME;
	RETURN NULL;
END $$;

-- Ids never change: flows and maps hold them.
CREATE FUNCTION geostream.refuse_id_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the id of %.% cannot change', TG_TABLE_NAME, OLD.name
		USING ERRCODE = 'check_violation', SCHEMA = 'geostream',
			TABLE = TG_TABLE_NAME, CONSTRAINT = TG_TABLE_NAME || '_id_fixed';
END $$;

CREATE FUNCTION geostream.manage_ids(managed regclass, id_limit integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER b_allocate_id BEFORE INSERT ON %s '
		'FOR EACH ROW EXECUTE FUNCTION geostream.allocate_id(%L)', managed, id_limit);
	EXECUTE format('CREATE TRIGGER b_retire_id AFTER DELETE ON %s '
		'FOR EACH ROW EXECUTE FUNCTION geostream.retire_id()', managed);
	EXECUTE format('CREATE TRIGGER b_retire_all_ids BEFORE TRUNCATE ON %s '
		'FOR EACH STATEMENT EXECUTE FUNCTION geostream.retire_all_ids()', managed);
	EXECUTE format('CREATE TRIGGER b_refuse_id_change BEFORE UPDATE OF id ON %s FOR EACH ROW '
		'WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION geostream.refuse_id_change()', managed);
END $$;

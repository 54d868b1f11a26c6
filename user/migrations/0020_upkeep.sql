-- SPDX-License-Identifier: Apache-2.0
-- Upkeep once an hour for all edges, not once for each: when it was last done is known.

CREATE TABLE geostream.upkeep (
	only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT upkeep_only_row CHECK (only_row),
	done_at timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE geostream.upkeep IS
	'when maintain() last did its work; edges call it if that was a while ago';
INSERT INTO geostream.upkeep DEFAULT VALUES;

-- As it was, and says when.
CREATE OR REPLACE FUNCTION geostream.maintain() RETURNS TABLE (dropped bigint)
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
	UPDATE geostream.upkeep SET done_at = now();
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION geostream.maintain() IS
	'makes partitions ahead of need, drops those beyond retention; edges call it every hour, if none of them has';

SELECT geostream.grant_roles();

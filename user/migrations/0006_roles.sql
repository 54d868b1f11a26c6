-- SPDX-License-Identifier: Apache-2.0
-- Who may do what. Three roles without a password that log-in roles are made members of:
--   CREATE ROLE fra1 LOGIN PASSWORD '...' IN ROLE geostream_edge;
-- They belong to the whole server, so they are made only where they are missing.

CREATE FUNCTION geostream.grant_roles() RETURNS text
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
		geostream.services, geostream.backends, geostream.overrides, geostream.breaker_forces
		TO geostream_operator;
	GRANT UPDATE ON geostream.revision TO geostream_operator;
	GRANT INSERT, UPDATE ON geostream.retired_ids TO geostream_operator;
	GRANT EXECUTE ON FUNCTION geostream.lock_revision(), geostream.bump_revision(),
		geostream.rows_inserted(), geostream.rows_updated(), geostream.rows_deleted(),
		geostream.rows_truncated(), geostream.allocate_id(), geostream.retire_id(),
		geostream.refuse_id_change(), geostream.refuse_vip_loop(), geostream.require_order(),
		geostream.limit_overrides(), geostream.orders_inserted(), geostream.orders_updated(),
		geostream.orders_deleted(), geostream.audit_orders(jsonb, jsonb)
		TO geostream_operator;
	RETURN '';
END $$;
COMMENT ON FUNCTION geostream.grant_roles() IS
	'makes the roles geostream_edge, geostream_operator and geostream_readonly where they are missing, and gives each its rights; what stands in the way, or an empty text';
SELECT geostream.grant_roles();

-- SPDX-License-Identifier: Apache-2.0
-- Who may do what with what 0011 to 0015 have made: the whole list, as it is now.

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
	GRANT INSERT, UPDATE, DELETE ON geostream.generations, geostream.latency_samples,
		geostream.edge_demand, geostream.votes TO geostream_edge;
	GRANT INSERT ON geostream.transitions, geostream.probe_minutes TO geostream_edge;
	GRANT USAGE ON SEQUENCE geostream.transition_ids TO geostream_edge;
	GRANT EXECUTE ON FUNCTION geostream.maintain() TO geostream_edge, geostream_operator;
	GRANT EXECUTE ON FUNCTION geostream.take_latency_turn(text, integer),
		geostream.publish_latency(text, bigint, jsonb) TO geostream_edge;

	-- An operator changes what is desired. The trigger functions behind it run as he, except for the
	-- audit's, which run as the owner: nobody else can write there.
	GRANT INSERT, UPDATE, DELETE ON geostream.regions, geostream.policies, geostream.policy_regions,
		geostream.services, geostream.backends, geostream.overrides, geostream.access,
		geostream.fences, geostream.breaker_forces, geostream.overlays TO geostream_operator;
	GRANT USAGE ON SEQUENCE geostream.overlay_versions TO geostream_operator;
	GRANT UPDATE ON geostream.quorum TO geostream_operator;
	GRANT UPDATE ON geostream.revision TO geostream_operator;
	GRANT INSERT, UPDATE ON geostream.retired_ids TO geostream_operator;
	GRANT EXECUTE ON FUNCTION geostream.lock_revision(), geostream.bump_revision(),
		geostream.rows_inserted(), geostream.rows_updated(), geostream.rows_deleted(),
		geostream.rows_truncated(), geostream.allocate_id(), geostream.retire_id(),
		geostream.refuse_id_change(), geostream.refuse_vip_loop(), geostream.require_order(),
		geostream.limit_overrides(), geostream.refuse_forward_family(), geostream.limit_access(),
		geostream.refuse_fence_regions(), geostream.limit_fences(), geostream.is_rank(text[]),
		geostream.region_name(integer), geostream.next_overlay_version(),
		geostream.orders_inserted(), geostream.orders_updated(),
		geostream.orders_deleted(), geostream.audit_orders(jsonb, jsonb)
		TO geostream_operator;
	RETURN '';
END $$;
SELECT geostream.grant_roles();

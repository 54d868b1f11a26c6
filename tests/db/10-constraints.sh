#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The database refuses nonsense itself, each kind by a constraint that says so by its name.
. tests/db/database.sh
db_test constraints
ctl db migrate >/dev/null

sql "BEGIN;
INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('eu', 50, 8), ('us', 39, -77), ('ap', 1, 103);
INSERT INTO geostream.policies (name, kind) VALUES ('nearest', 'geo'), ('spare', 'failover');
INSERT INTO geostream.policy_regions VALUES (1, 1, 1), (1, 2, 2), (2, 1, 3);
INSERT INTO geostream.services (name, vip, port, protocol, policy) VALUES
	('web', '198.51.100.10', 80, 'tcp', 1), ('web6', '2001:db8::10', 80, 'tcp', 1);
INSERT INTO geostream.backends (name, service, region, address) VALUES
	('eu-1', 1, 1, '10.1.0.1'), ('us-1', 1, 2, '10.2.0.1');
INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 2);
INSERT INTO geostream.access VALUES ('203.0.113.0/24', NULL, 'deny'), ('203.0.113.0/24', 1, 'allow');
INSERT INTO geostream.overrides (place, region) VALUES ('country:DE', 1);
INSERT INTO geostream.overrides (asn, region) VALUES (64500, 1), (4294967295, 1);
INSERT INTO geostream.fences (place, service, regions) VALUES ('country:DE', NULL, '{1,3}'), ('country:DE', 1, '{3}');
COMMIT"
before=$(revision)

region="INSERT INTO geostream.regions (name, latitude, longitude, cost, capacity, admin) VALUES"
policy="INSERT INTO geostream.policies (name, kind) VALUES"
order="INSERT INTO geostream.policy_regions VALUES"
service="INSERT INTO geostream.services (name, vip, port, protocol, policy) VALUES"
backend="INSERT INTO geostream.backends (name, service, region, address) VALUES"
override="INSERT INTO geostream.overrides VALUES"
place="INSERT INTO geostream.overrides (place, region) VALUES"
system="INSERT INTO geostream.overrides (asn, region) VALUES"
vote="INSERT INTO geostream.edges (name, version) VALUES ('voter', 'v'); INSERT INTO geostream.votes (edge, service, region, vote, seq) SELECT 'voter', v.* FROM (VALUES"
fence="INSERT INTO geostream.fences (place, service, regions) VALUES"
set_service="UPDATE geostream.services SET"
access="INSERT INTO geostream.access (prefix, service, action) VALUES"
samples="INSERT INTO geostream.latency_samples (edge, place, region, continent, samples, rtt_us, model_us, at) VALUES"
estimate="INSERT INTO geostream.latency_estimates (place, region, us, samples) VALUES"
overlay='INSERT INTO geostream.overlays (region, service, backend, admin, expires_at) VALUES'
force='INSERT INTO geostream.breaker_forces (service, region, edge, state, expires_at) VALUES'

# So many rows at once without the audit of each, then as always: the next one is judged.
filled() { # TABLE SELECT
	printf 'ALTER TABLE geostream.%s DISABLE TRIGGER USER; INSERT INTO geostream.%s %s; ALTER TABLE geostream.%s ENABLE TRIGGER USER;' \
		"$1" "$1" "$2" "$1"
}
many4="SELECT ('10.0.0.0'::inet + 256::bigint * g)::cidr, 1 FROM generate_series(1, 65535) g"

refusals <<SQL
regions_name|$region ('', 1, 1, 0, 0, 'auto')
regions_name|$region ('EU', 1, 1, 0, 0, 'auto')
regions_name|$region ('-eu', 1, 1, 0, 0, 'auto')
regions_name|$region (repeat('a', 64), 1, 1, 0, 0, 'auto')
regions_name|$region (E'eu\n', 1, 1, 0, 0, 'auto')
regions_name|$region ('é', 1, 1, 0, 0, 'auto')
regions_name_key|$region ('eu', 1, 1, 0, 0, 'auto')
regions_latitude|$region ('x', 90.01, 1, 0, 0, 'auto')
regions_latitude|$region ('x', -91, 1, 0, 0, 'auto')
regions_latitude|$region ('x', 'NaN', 1, 0, 0, 'auto')
regions_latitude|$region ('x', 'Infinity', 1, 0, 0, 'auto')
regions_longitude|$region ('x', 1, 180.5, 0, 0, 'auto')
regions_longitude|$region ('x', 1, 'NaN', 0, 0, 'auto')
regions_cost|$region ('x', 1, 1, -1, 0, 'auto')
regions_cost|$region ('x', 1, 1, 'NaN', 0, 'auto')
regions_cost|$region ('x', 1, 1, 'Infinity', 0, 'auto')
regions_capacity|$region ('x', 1, 1, 0, -1, 'auto')
regions_admin|$region ('x', 1, 1, 0, 0, 'sideways')
regions_id|INSERT INTO geostream.regions (id, name, latitude, longitude) VALUES (256, 'x', 1, 1)
regions_id|INSERT INTO geostream.regions (id, name, latitude, longitude) VALUES (0, 'x', 1, 1)
regions_id_fixed|UPDATE geostream.regions SET id = 9 WHERE name = 'ap'
regions_limit|INSERT INTO geostream.regions (name, latitude, longitude) SELECT 'r' || g, 1, 1 FROM generate_series(1, 253) g
policies_name|$policy ('a_b', 'geo')
policies_name_key|$policy ('nearest', 'geo')
policies_kind|$policy ('x', 'random')
policies_have_order|$policy ('x', 'geo')
policies_have_order|DELETE FROM geostream.policy_regions WHERE policy = 2
policies_have_order|UPDATE geostream.policy_regions SET policy = 1, position = 3 WHERE policy = 2
policies_have_order|TRUNCATE geostream.policy_regions
policies_limit|INSERT INTO geostream.policies (name, kind) SELECT 'p' || g, 'geo' FROM generate_series(1, 254) g
policy_regions_position|$order (1, 0, 3)
policy_regions_position|$order (1, 17, 3)
policy_regions_pkey|$order (1, 1, 3)
policy_regions_region_key|$order (1, 3, 1)
policy_regions_region_fkey|$order (1, 3, 99)
policy_regions_policy_fkey|$order (99, 1, 1)
services_name|$service ('WEB', '198.51.100.11', 80, 'tcp', 1)
services_name_key|$service ('web', '198.51.100.11', 80, 'tcp', 1)
services_port|$service ('x', '198.51.100.11', 70000, 'tcp', 1)
services_port|$service ('x', '198.51.100.11', -1, 'tcp', 1)
services_protocol|$service ('x', '198.51.100.11', 80, 'icmp', 1)
services_policy_fkey|$service ('x', '198.51.100.11', 80, 'tcp', 99)
services_vip_port_protocol_key|$service ('x', '198.51.100.10', 80, 'tcp', 1)
services_vip|$service ('x', '198.51.100.0/24', 80, 'tcp', 1)
services_vip|$service ('x', '0.0.0.0', 80, 'tcp', 1)
services_vip|$service ('x', '127.0.0.1', 80, 'tcp', 1)
services_vip|$service ('x', '224.0.0.1', 80, 'tcp', 1)
services_vip|$service ('x', '255.255.255.255', 80, 'tcp', 1)
services_vip|$service ('x', '::', 80, 'tcp', 1)
services_vip|$service ('x', '::1', 80, 'tcp', 1)
services_vip|$service ('x', 'ff02::1', 80, 'tcp', 1)
services_vip|$service ('x', 'fe80::1', 80, 'tcp', 1)
services_vip|$service ('x', '::ffff:198.51.100.11', 80, 'tcp', 1)
services_vip|$service ('x', '2001:db8::/64', 80, 'tcp', 1)
services_vip_is_no_backend|$service ('x', '10.1.0.1', 80, 'tcp', 1)
services_vip_is_no_backend|$set_service vip = '10.2.0.1' WHERE name = 'web'
services_probe_needs_port|$service ('x', '198.51.100.11', 0, 'tcp', 1)
services_probe_kind|$set_service probe_kind = 'ping'
services_probe_port|$set_service probe_port = 65536
services_probe_path|$set_service probe_path = 'health'
services_probe_path|$set_service probe_path = '/a b'
services_probe_path|$set_service probe_path = E'/a\r\nX: y'
services_probe_path|$set_service probe_path = '/' || repeat('a', 255)
services_probe_host|$set_service probe_host = E'a\nb'
services_probe_interval|$set_service probe_interval_ms = 9
services_probe_timeout|$set_service probe_timeout_ms = 60001
services_probe_fast_interval|$set_service probe_fast_interval_ms = 0
services_probe_down_interval|$set_service probe_down_interval_ms = -1
services_probe_rise|$set_service probe_rise = 0
services_probe_fall|$set_service probe_fall = 101
services_probe_clear|$set_service probe_clear = 0
services_probe_status|$set_service probe_status = ''
services_probe_status|$set_service probe_status = '20'
services_probe_status|$set_service probe_status = '200,'
services_probe_status|$set_service probe_status = '200-'
services_probe_status|$set_service probe_status = '600'
services_probe_status|$set_service probe_status = '200,200,200,200,200,200,200,200,200,200,200,200,200'
services_probe_expect|$set_service probe_expect = E'a\nb'
services_probe_expect|$set_service probe_expect = 'a\'
services_probe_expect|$set_service probe_expect = '\x0g'
services_probe_expect|$set_service probe_expect = repeat('a', 128)
services_probe_expect_at|$set_service probe_expect_at = 'end'
services_probe_request|$set_service probe_kind = 'udp'
services_probe_request|$set_service probe_kind = 'dns'
services_probe_request|$set_service probe_kind = 'dns', probe_request = 'a..b'
services_probe_request|$set_service probe_kind = 'dns', probe_request = 'a b'
services_probe_request|$set_service probe_kind = 'dns', probe_request = repeat('a', 64)
services_probe_request|$set_service probe_kind = 'dns', probe_request = repeat('a.', 127) || 'a'
services_probe_request|$set_service probe_request = '\a'
services_probe_trust|$set_service probe_trust = 'ca.pem'
services_probe_trust|$set_service probe_trust = ''
services_probe_trust|$set_service probe_trust = E'/a\nb'
services_probe_dns_type|$set_service probe_dns_type = 'B'
services_probe_dns_type|$set_service probe_dns_type = 'TYPE0'
services_probe_dns_type|$set_service probe_dns_type = 'TYPE65536'
services_probe_dns_rcode|$set_service probe_dns_rcode = 'NOERROR'
services_probe_via|$set_service probe_via = 'Tunnel'
services_probe_via|$set_service probe_via = ''
services_probe_command|$set_service probe_kind = 'exec'
services_probe_command|$set_service probe_command = '../sh'
services_probe_command|$set_service probe_command = '.sh'
services_probe_command|$set_service probe_command = 'a b'
services_probe_arguments|$set_service probe_arguments = ARRAY['a,b']
services_probe_arguments|$set_service probe_arguments = ARRAY['a', '']
services_probe_arguments|$set_service probe_arguments = ARRAY['a', NULL]
services_probe_arguments|$set_service probe_arguments = ARRAY[E'a\nb']
services_probe_arguments|$set_service probe_arguments = ARRAY[repeat('a', 128), repeat('a', 127)]
services_failover_budget|$set_service failover_budget_ms = -1
services_failover_budget|$set_service failover_budget_ms = 3600001
services_breaker_min_volume|$set_service breaker_min_volume = 0
services_breaker_failure_percent|$set_service breaker_failure_percent = 101
services_breaker_consecutive|$set_service breaker_consecutive = -1
services_breaker_open|$set_service breaker_open_ms = 99
services_breaker_open_max|$set_service breaker_open_max_ms = 3600001
services_breaker_open_order|$set_service breaker_open_max_ms = 1999
services_breaker_trials|$set_service breaker_trials = 0
services_breaker_successes|$set_service breaker_successes = 101
services_breaker_ramp|$set_service breaker_ramp_ms = -1
services_breaker_slow_ms|$set_service breaker_slow_ms = 60001
services_breaker_slow_percent|$set_service breaker_slow_percent = 0
quorum_down_permille|UPDATE geostream.quorum SET down_permille = 179
quorum_down_permille|UPDATE geostream.quorum SET down_permille = 1001
upkeep_only_row|INSERT INTO geostream.upkeep VALUES (false)
quorum_only_row|INSERT INTO geostream.quorum VALUES (false, 500)
quorum_pkey|INSERT INTO geostream.quorum VALUES (true, 500)
edges_site|INSERT INTO geostream.edges (name, version, site) VALUES ('e', 'v', repeat('a', 64))
edges_site|INSERT INTO geostream.edges (name, version, site) VALUES ('e', 'v', E'a\nb')
edges_self|INSERT INTO geostream.edges (name, version, self) VALUES ('e', 'v', repeat('a', 64))
edges_self_why|INSERT INTO geostream.edges (name, version, self_why) VALUES ('e', 'v', repeat('a', 96))
votes_edge_fkey|INSERT INTO geostream.votes VALUES ('nobody', 0, 1, 'up', 1)
votes_service|$vote (1024, 1, 'up', 1)) v
votes_region|$vote (0, 0, 'up', 1)) v
votes_region|$vote (0, 256, 'up', 1)) v
votes_vote|$vote (1, 1, 'perhaps', 1)) v
votes_seq_positive|$vote (0, 1, 'up', 0)) v
votes_of_regions|$vote (0, 1, 'region', 1)) v
votes_pkey|$vote (0, 1, 'up', 1), (0, 1, 'down', 1)) v
breaker_forces_service_fkey|$force ('wob', 'eu', '', 'open', now() + interval '1 hour')
breaker_forces_region_fkey|$force ('web', 'mars', '', 'open', now() + interval '1 hour')
breaker_forces_edge|$force ('web', 'eu', E'a\nb', 'open', now() + interval '1 hour')
breaker_forces_state|$force ('web', 'eu', '', 'ajar', now() + interval '1 hour')
breaker_forces_expires|$force ('web', 'eu', '', 'open', now() + interval '8 days')
breaker_forces_expires|$force ('web', 'eu', '', 'open', now() - interval '1 second')
breaker_forces_reason|INSERT INTO geostream.breaker_forces (service, region, state, expires_at, reason) VALUES ('web', 'eu', 'open', now() + interval '1 hour', repeat('a', 128))
breaker_forces_actor|INSERT INTO geostream.breaker_forces (service, region, state, expires_at, actor) VALUES ('web', 'eu', 'open', now() + interval '1 hour', repeat('a', 64))
breaker_forces_pkey|$force ('web', 'eu', '', 'open', now() + interval '1 hour'), ('web', 'eu', '', 'closed', now() + interval '1 hour')
overlays_region_fkey|$overlay ('mars', NULL, NULL, 'drain', NULL)
overlays_service_fkey|$overlay ('eu', 'wob', NULL, 'drain', NULL)
overlays_backend_fkey|$overlay (NULL, NULL, 'mars-1', 'drain', NULL)
overlays_object|$overlay (NULL, NULL, NULL, 'drain', NULL)
overlays_object|$overlay (NULL, 'web', NULL, 'drain', NULL)
overlays_object|$overlay ('eu', NULL, 'eu-1', 'drain', NULL)
overlays_object|$overlay (NULL, 'web', 'eu-1', 'drain', NULL)
overlays_admin|$overlay ('eu', NULL, NULL, 'sideways', NULL)
overlays_must_expire|$overlay ('eu', NULL, NULL, 'force_up', NULL)
overlays_must_expire|$overlay ('eu', NULL, NULL, 'force_down', NULL)
overlays_expires|$overlay ('eu', NULL, NULL, 'drain', now())
overlays_expires|$overlay ('eu', NULL, NULL, 'drain', now() + interval '91 days')
overlays_key|$overlay ('eu', NULL, NULL, 'drain', NULL), ('eu', NULL, NULL, 'auto', NULL)
overlays_key|$overlay (NULL, NULL, 'eu-1', 'drain', NULL), (NULL, NULL, 'eu-1', 'auto', NULL)
overlays_edge|INSERT INTO geostream.overlays (region, admin, edge) VALUES ('eu', 'drain', E'a\nb')
overlays_reason|INSERT INTO geostream.overlays (region, admin, reason) VALUES ('eu', 'drain', repeat('a', 128))
overlays_actor|INSERT INTO geostream.overlays (region, admin, actor) VALUES ('eu', 'drain', repeat('a', 64))
overlays_ticket|INSERT INTO geostream.overlays (region, admin, ticket) VALUES ('eu', 'drain', repeat('a', 64))
services_damping_suppress|$set_service damping_suppress = -1
services_damping_suppress|$set_service damping_suppress = 100001
services_damping_reuse|$set_service damping_reuse = 0
services_damping_half_life_s|$set_service damping_half_life_s = 0
services_damping_half_life_s|$set_service damping_half_life_s = 3601
services_damping_ceiling_s|$set_service damping_ceiling_s = 86401
services_damping_span|$set_service damping_reuse = damping_suppress
services_panic_percent|$set_service panic_percent = 101
services_panic_percent|$set_service panic_percent = -1
services_panic_all_down|$set_service panic_all_down = 'serve_none'
services_panic_region|$set_service panic_all_down = 'fixed'
services_panic_region|$set_service panic_region = 1
services_panic_region_fkey|$set_service panic_all_down = 'fixed', panic_region = 99
retention_keep|UPDATE geostream.retention SET keep_days = 0
retention_history|INSERT INTO geostream.retention VALUES ('weather', 'at', 'day', 1)
retention_span|UPDATE geostream.retention SET span = 'hour'
probe_minutes_failures|INSERT INTO geostream.probe_minutes (minute, edge, service, region, backend, probes, failures) VALUES (now(), 'e', 's', 'r', 'b', 1, 2)
transitions_kind|INSERT INTO geostream.transitions (edge, run, number, at, kind, from_state, to_state) VALUES ('e', 1, 1, now(), 'weather', '', '')
audit_kind|INSERT INTO geostream.audit (revision, actor, role, kind, name, after) VALUES (1, 'a', 'b', 'weather', 'c', '{}')
audit_changes|INSERT INTO geostream.audit (revision, actor, role, kind, name) VALUES (1, 'a', 'b', 'region', 'c')
breaker_states_state|INSERT INTO geostream.breaker_states (edge, service, region, state, saved_at) VALUES ('e', 's', 'r', 'ajar', now())
services_id|INSERT INTO geostream.services (id, name, vip, port, protocol, policy) VALUES (1024, 'x', '198.51.100.11', 80, 'tcp', 1)
services_limit|INSERT INTO geostream.services (name, vip, port, protocol, policy) SELECT 's' || g, '198.51.100.11', g, 'tcp', 1 FROM generate_series(1, 1022) g
backends_name|$backend ('a.b', 1, 1, '10.9.0.1')
backends_name_key|$backend ('eu-1', 1, 1, '10.9.0.1')
backends_service_fkey|$backend ('x', 99, 1, '10.9.0.1')
backends_region_fkey|$backend ('x', 1, 99, '10.9.0.1')
backends_address|$backend ('x', 1, 1, '0.0.0.0')
backends_address|$backend ('x', 1, 1, '127.1.2.3')
backends_address|$backend ('x', 1, 1, '239.0.0.1')
backends_address|$backend ('x', 1, 1, 'ff0e::1')
backends_address|$backend ('x', 1, 1, '10.0.0.0/8')
backends_service_address_key|$backend ('x', 1, 2, '10.1.0.1')
backends_address_is_no_vip|$backend ('x', 1, 1, '198.51.100.10')
backends_address_is_no_vip|$backend ('x', 1, 1, '2001:db8::10')
backends_address_is_no_vip|UPDATE geostream.backends SET address = '198.51.100.10' WHERE name = 'eu-1'
backends_weight|UPDATE geostream.backends SET weight = 0
backends_weight|UPDATE geostream.backends SET weight = 1001
backends_forward|UPDATE geostream.backends SET forward = 'gre'
backends_forward|UPDATE geostream.backends SET forward = ''
backends_forward|UPDATE geostream.backends SET forward = 'IPIP'
backends_forward_fits_vip|INSERT INTO geostream.backends (name, service, region, address, forward) VALUES ('x', 2, 1, '10.9.0.1', 'l2')
backends_forward_fits_vip|INSERT INTO geostream.backends (name, service, region, address, forward) VALUES ('x', 1, 1, 'fd00::1', 'l2')
backends_forward_fits_vip|UPDATE geostream.backends SET forward = 'l2', service = 2 WHERE name = 'eu-1'
backends_forward_fits_vip|BEGIN; UPDATE geostream.backends SET forward = 'l2'; UPDATE geostream.backends SET address = 'fd00::1' WHERE name = 'eu-1'; COMMIT
services_vip_fits_forward|BEGIN; UPDATE geostream.backends SET forward = 'l2'; UPDATE geostream.services SET vip = '2001:db8::11' WHERE name = 'web'; COMMIT
backends_admin|UPDATE geostream.backends SET admin = ''
backends_id|INSERT INTO geostream.backends (id, name, service, region, address) VALUES (16384, 'x', 1, 1, '10.9.0.1')
backends_limit|INSERT INTO geostream.backends (name, service, region, address) SELECT 'b' || g, 1, 1, '11.0.0.0'::inet + g FROM generate_series(1, 16382) g
backends_region_fkey|UPDATE geostream.backends SET region = 99
policy_regions_region_fkey|DELETE FROM geostream.regions WHERE name = 'ap'
services_policy_fkey|DELETE FROM geostream.policies WHERE name = 'nearest'
backends_service_fkey|DELETE FROM geostream.services WHERE name = 'web'
services_affinity|$set_service affinity = 'host'
services_affinity_prefix4|$set_service affinity_prefix4 = 7
services_affinity_prefix4|$set_service affinity_prefix4 = 33
services_affinity_prefix6|$set_service affinity_prefix6 = 15
services_affinity_prefix6|$set_service affinity_prefix6 = 129
services_limit_client_packets|$set_service limit_client_packets = -1
services_limit_client_flows|$set_service limit_client_flows = 1000000001
services_limit_packets|$set_service limit_packets = -1
services_limit_flows|$set_service limit_flows = 1000000001
services_limit_prefix4|$set_service limit_prefix4 = 7
services_limit_prefix6|$set_service limit_prefix6 = 129
services_stale|$set_service stale = 'forget'
services_stale_after|$set_service stale_after_s = 9
services_stale_after|$set_service stale_after_s = 86401
regions_limit_packets|UPDATE geostream.regions SET limit_packets = -1
regions_limit_flows|UPDATE geostream.regions SET limit_flows = 1000000001
regions_drain|UPDATE geostream.regions SET drain_until = now()
regions_drain_until|UPDATE geostream.regions SET admin = 'drain', drain_until = 'infinity'
backends_drain|UPDATE geostream.backends SET admin = 'maintenance', drain_until = now()
backends_drain|BEGIN; UPDATE geostream.backends SET admin = 'drain', drain_until = now(); UPDATE geostream.backends SET admin = 'auto'; COMMIT
backends_drain_until|UPDATE geostream.backends SET admin = 'drain', drain_until = '-infinity'
backends_drain_until|UPDATE geostream.backends SET admin = 'drain', drain_until = 'epoch'
backends_port|UPDATE geostream.backends SET forward = 'nat', port = 65536
backends_port_of_nat|UPDATE geostream.backends SET port = 80
backends_port_of_nat|UPDATE geostream.backends SET forward = 'gue', port = 80
backends_forward_fits_vip|INSERT INTO geostream.backends (name, service, region, address, forward) VALUES ('x', 1, 1, 'fd00::1', 'nat')
services_vip_fits_forward|BEGIN; UPDATE geostream.backends SET forward = 'nat'; UPDATE geostream.services SET vip = '2001:db8::11' WHERE name = 'web'; COMMIT
access_key|$access ('203.0.113.0/24', NULL, 'allow')
access_key|$access ('203.0.113.0/24', 1, 'allow')
access_prefix|$access ('::ffff:10.0.0.0/104', NULL, 'deny')
access_service_fkey|$access ('10.0.0.0/8', 99, 'deny')
access_service_fkey|DELETE FROM geostream.backends WHERE service = 1; DELETE FROM geostream.services WHERE name = 'web'
access_action|$access ('10.0.0.0/8', NULL, 'permit')
access_reason|INSERT INTO geostream.access VALUES ('10.0.0.0/8', NULL, 'deny', repeat('a', 128))
access_reason|INSERT INTO geostream.access VALUES ('10.0.0.0/8', NULL, 'deny', E'a\x1b[31m')
access_limit|$(filled access "SELECT ('10.0.0.0'::inet + 256::bigint * g)::cidr, NULL, 'deny' FROM generate_series(1, 65535) g") $access ('198.18.0.0/24', NULL, 'deny')
overrides_key|$override ('203.0.113.0/24', 1)
overrides_prefix|$override ('::ffff:10.0.0.0/104', 1)
overrides_region_fkey|$override ('10.0.0.0/8', 99)
overrides_reason|$override ('10.0.0.0/8', 1, repeat('a', 128))
overrides_reason|$override ('10.0.0.0/8', 1, E'a\x1b[31m')
overrides_place_key|$place ('country:DE', 2)
overrides_place|$place ('country:de', 1)
overrides_place|$place ('country:DEU', 1)
overrides_place|$place ('continent:DE', 1)
overrides_place|$place ('subdivision:US', 1)
overrides_place|$place ('everybody', 1)
overrides_place|$place (E'country:FR\n', 1)
overrides_clients|$place (NULL, 1)
overrides_clients|INSERT INTO geostream.overrides (prefix, place, region) VALUES ('10.0.0.0/8', 'country:FR', 1)
overrides_region_fkey|$place ('country:FR', 99)
overrides_asn_key|$system (64500, 2)
overrides_asn|$system (0, 2)
overrides_asn|$system (-1, 2)
overrides_asn|$system (4294967296, 2)
overrides_clients|INSERT INTO geostream.overrides (prefix, asn, region) VALUES ('10.0.0.0/8', 64501, 1)
overrides_clients|INSERT INTO geostream.overrides (asn, place, region) VALUES (64501, 'country:FR', 1)
overrides_clients|UPDATE geostream.overrides SET asn = 64501 WHERE place IS NOT NULL
overrides_region_fkey|$system (64501, 99)
overrides_limit|INSERT INTO geostream.overrides (asn, region) SELECT g, 1 FROM generate_series(1, 1023) g
overrides_limit|INSERT INTO geostream.overrides (place, region) SELECT 'subdivision:' || c || '-' || lpad(g::text, 3, '0'), 1 FROM generate_series(1, 999) g, unnest('{US,CA}'::text[]) c
fences_key|$fence ('country:DE', NULL, '{1}')
fences_key|$fence ('country:DE', 1, '{1}')
fences_place|$fence ('Germany', NULL, '{1}')
fences_place|$fence ('everybody:', NULL, '{1}')
fences_service_fkey|$fence ('country:FR', 99, '{1}')
fences_regions|$fence ('country:FR', NULL, '{}')
fences_regions|$fence ('country:FR', NULL, '{1,NULL}')
fences_regions|$fence ('country:FR', NULL, (SELECT array_agg(g) FROM generate_series(1, 33) g))
fences_regions_exist|$fence ('country:FR', NULL, '{1,99}')
fences_regions_exist|$fence ('country:FR', NULL, '{1,1}')
fences_regions_exist|UPDATE geostream.fences SET regions = '{99}' WHERE service = 1
regions_of_fences_stay|DELETE FROM geostream.overrides; DELETE FROM geostream.policy_regions WHERE region = 3; UPDATE geostream.policy_regions SET region = 2 WHERE false; DELETE FROM geostream.policies WHERE id = 2; DELETE FROM geostream.regions WHERE id = 3
fences_unknown|INSERT INTO geostream.fences (place, regions, "unknown") VALUES ('country:FR', '{1}', 'maybe')
fences_reason|INSERT INTO geostream.fences (place, regions, reason) VALUES ('country:FR', '{1}', repeat('a', 128))
fences_limit|$fence ('everybody', NULL, '{1}'); INSERT INTO geostream.fences (place, regions) SELECT 'country:' || chr(65 + g / 26) || chr(65 + g % 26), '{1}' FROM generate_series(100, 400) g
policies_rank|UPDATE geostream.policies SET kind = 'ranked', rank = '{geo,distance}' WHERE id = 1
policies_rank|UPDATE geostream.policies SET kind = 'ranked', rank = '{geo,geo}' WHERE id = 1
policies_rank|UPDATE geostream.policies SET kind = 'ranked', rank = '{weight,geo}' WHERE id = 1
policies_rank|UPDATE geostream.policies SET kind = 'ranked', rank = '{order,geo,latency,cost,availability}' WHERE id = 1
policies_rank_of_ranked|UPDATE geostream.policies SET kind = 'ranked' WHERE id = 1
policies_rank_of_ranked|UPDATE geostream.policies SET rank = '{geo}' WHERE id = 1
policies_band_ms|UPDATE geostream.policies SET band_ms = 10001
policies_band_percent|UPDATE geostream.policies SET band_percent = 101
policy_regions_bias|UPDATE geostream.policy_regions SET bias = -100
policy_regions_weight|UPDATE geostream.policy_regions SET weight = 1001
regions_target|UPDATE geostream.regions SET target = 101
services_limit_priority|UPDATE geostream.services SET limit_priority = 8
edge_demand_pkey|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('e', 'eu', '{eu}', 4, 1), ('e', 'eu', '{eu}', 4, 2)
edge_demand_edge|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('', 'eu', '{eu}', 4, 1)
edge_demand_home|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('e', '', '{eu}', 4, 1)
edge_demand_usable|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('e', 'eu', array_fill('eu'::text, '{17}'), 4, 1)
edge_demand_priority|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('e', 'eu', '{eu}', 8, 1)
edge_demand_per_second|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('e', 'eu', '{eu}', 4, 'infinity')
regions_availability|UPDATE geostream.regions SET availability = 100.5
regions_availability|UPDATE geostream.regions SET availability = 'NaN'
overrides_limit|$(filled overrides "$many4") $override ('198.18.0.0/24', 1)
revision_only_row|INSERT INTO geostream.revision (only_row, selection_seed) VALUES (false, 1)
revision_pkey|INSERT INTO geostream.revision (selection_seed) VALUES (1)
latency_samples_place|$samples ('e', 'country:DE', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', 'everybody', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', 'probes:1', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', E'probes\\n', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', 'cell:DE/91,13', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', 'cell:DE/-0,13', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', 'cell:DE/52,181', 'eu', '', 1, 1, 1, now())
latency_samples_place|$samples ('e', E'cell:DE/52,13\\n', 'eu', '', 1, 1, 1, now())
latency_samples_continent|$samples ('e', 'cell:DE/52,13', 'eu', 'XX', 1, 1, 1, now())
latency_samples_samples|$samples ('e', 'cell:DE/52,13', 'eu', '', 0, 1, 1, now())
latency_samples_rtt|$samples ('e', 'cell:DE/52,13', 'eu', '', 1, 0, 1, now())
latency_samples_model|$samples ('e', 'cell:DE/52,13', 'eu', '', 1, 1, -1, now())
latency_samples_pkey|$samples ('e', 'cell:DE/52,13', 'eu', '', 1, 1, 1, now()), ('e', 'cell:DE/52,13', 'eu', '', 1, 1, 1, now())
latency_turn_only_row|INSERT INTO geostream.latency_turn (only_row) VALUES (false)
latency_turn_pkey|INSERT INTO geostream.latency_turn DEFAULT VALUES
latency_estimates_place|$estimate ('de', 1, 1, 1)
latency_estimates_place|$estimate ('cell:DE/52', 1, 1, 1)
latency_estimates_place|$estimate ('probes:eu', 1, 1, 1)
latency_estimates_region_fkey|$estimate ('country:DE', 99, 1, 1)
latency_estimates_us|$estimate ('country:DE', 1, 60000001, 1)
latency_estimates_us|$estimate ('country:DE', 1, -60000001, 1)
latency_estimates_samples|$estimate ('country:DE', 1, 1, 0)
latency_estimates_pkey|$estimate ('country:DE', 1, 1, 1), ('country:DE', 1, 2, 1)
latency_estimates_before_us|INSERT INTO geostream.latency_estimates (place, region, us, samples, before_us, before_percent) VALUES ('country:DE', 1, 1, 1, 60000001, 50)
latency_estimates_before_percent|INSERT INTO geostream.latency_estimates (place, region, us, samples, before_percent) VALUES ('country:DE', 1, 1, 1, 100)
latency_estimates_before_percent|INSERT INTO geostream.latency_estimates (place, region, us, samples, before_percent) VALUES ('country:DE', 1, 1, 1, -1)
latency_estimates_before|INSERT INTO geostream.latency_estimates (place, region, us, samples, before_us) VALUES ('country:DE', 1, 1, 1, 2)
latency_estimates_before|INSERT INTO geostream.latency_estimates (place, region, us, samples, goes) VALUES ('country:DE', 1, 1, 1, true)
latency_estimates_goes|INSERT INTO geostream.latency_estimates (place, region, us, samples, before_us, before_percent, goes) VALUES ('country:DE', 1, 1, 1, 2, 50, true)
latency_estimates_limit|$estimate ('everybody', 1, 1, 1); INSERT INTO geostream.latency_estimates SELECT 'cell:DE-' || g / 181 || '/1,' || g % 181, 1, 1, 1 FROM generate_series(1, 16384) g
SQL

refuses "an override with host bits (the cidr type)" sql "$override ('10.0.0.1/8', 1)"
refuses "an override that is no prefix" sql "$override ('10.0.0/33', 1)"
is "nothing that was refused made a revision" "$(revision)" "$before"

# What is just within.
ok "the poles, the date line" sql "$region ('p', 90, -180, 0, 0, 'auto'), ('q', -90, 180, 1e300, 9223372036854775807, 'drain')"
ok "as many overrides as the tries hold, of each family" sql \
	"BEGIN; DELETE FROM geostream.overrides WHERE prefix = '203.0.113.0/24';
	 $(filled overrides "$many4") $(filled overrides "${many4//10.0.0.0/2001:db8::}") INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 1), ('2001:db9::/32', 1); COMMIT"
ok "a service of every port, probed elsewhere" sql \
	"INSERT INTO geostream.services (name, vip, port, protocol, policy, probe_port) VALUES ('all', '198.51.100.12', 0, 'udp', 1, 80)"
ok "probes of every port that need none" sql \
	"UPDATE geostream.services SET probe_port = 0, probe_kind = 'icmp' WHERE name = 'all';
	 UPDATE geostream.services SET probe_kind = 'exec', probe_command = 'a', probe_arguments = ARRAY['-x', 'y z'] WHERE name = 'all'"
ok "what probes may ask and expect" sql \
	"UPDATE geostream.services SET probe_kind = 'dns', probe_port = 53, probe_request = '_a.' || repeat('a.', 100) || 'b.',
		probe_dns_type = 'TYPE65535', probe_dns_rcode = 'nxdomain' WHERE name = 'all';
	 UPDATE geostream.services SET probe_request = '.' WHERE name = 'all';
	 UPDATE geostream.services SET probe_kind = 'udp', probe_request = '\\x00\\\\ \\r\\n\\t[]~', probe_expect = '\\xfF^',
		probe_via = 'tunnel', probe_expect_at = 'start', probe_status = '100-599,200', probe_trust = '/a b' WHERE name = 'all'"
ok "port 65535, another protocol on the same port, another port on the same VIP" sql \
	"$service ('a', '198.51.100.10', 65535, 'tcp', 1), ('b', '198.51.100.10', 80, 'udp', 1)"
ok "one address in two services" sql "$backend ('b1', 1, 1, '10.7.0.1'), ('b2', 2, 1, '10.7.0.1')"
ok "two services swap their VIPs in one transaction" sql \
	"BEGIN; SET CONSTRAINTS ALL DEFERRED;
	 UPDATE geostream.services SET vip = '2001:db8::10' WHERE name = 'web';
	 UPDATE geostream.services SET vip = '198.51.100.10' WHERE name = 'web6'; COMMIT"
ok "a VIP and its backends by l2 change their family in one transaction" sql \
	"UPDATE geostream.backends SET forward = 'l2' WHERE name = 'b2';
	 BEGIN; SET CONSTRAINTS ALL DEFERRED;
	 UPDATE geostream.services SET vip = '2001:db8::10' WHERE name = 'web6';
	 UPDATE geostream.services SET vip = '198.51.100.10' WHERE name = 'web';
	 UPDATE geostream.backends SET address = 'fd00::7' WHERE name = 'b2'; COMMIT"
ok "limits, prefixes and times at their ends" sql \
	"UPDATE geostream.services SET affinity = 'prefix', affinity_prefix4 = 8, affinity_prefix6 = 128, limit_prefix4 = 32,
	 limit_prefix6 = 16, limit_flows = 1000000000, stale = 'drop', stale_after_s = 10;
	 UPDATE geostream.regions SET admin = 'drain', drain_until = '9999-12-31 23:59:59.999Z';
	 UPDATE geostream.backends SET forward = 'nat', port = 65535 WHERE name = 'eu-1'"
ok "round trips of a cell and of probes" sql "$samples ('e', 'cell:DE/52,13', 'eu', 'EU', 1, 1, 1, now()), ('e', 'probes', 'eu', '', 1, 1, 0, now());
	$estimate ('everybody', 1, 1, 1), ('probes', 1, -1, 1), ('probes', 2, 1, 1)"
ok "a rule for each service, and of both families" sql "$access ('203.0.113.0/24', 2, 'deny'), ('::/0', NULL, 'deny'), ('0.0.0.0/0', NULL, 'allow')"
is "every named constraint of the desired state says what it is for" "$(sql "
	SELECT string_agg(conname, ' ') FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
	WHERE t.relname IN ('regions', 'policies', 'policy_regions', 'services', 'backends', 'overrides', 'access', 'fences', 'breaker_forces', 'overlays')
	AND contype <> 't' AND conname NOT LIKE '%\_pkey' AND obj_description(c.oid, 'pg_constraint') IS NULL")" ""
done_testing

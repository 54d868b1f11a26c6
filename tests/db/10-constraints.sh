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
COMMIT"
before=$(revision)

region="INSERT INTO geostream.regions (name, latitude, longitude, cost, capacity, admin) VALUES"
policy="INSERT INTO geostream.policies (name, kind) VALUES"
order="INSERT INTO geostream.policy_regions VALUES"
service="INSERT INTO geostream.services (name, vip, port, protocol, policy) VALUES"
backend="INSERT INTO geostream.backends (name, service, region, address) VALUES"
override="INSERT INTO geostream.overrides VALUES"
set_service="UPDATE geostream.services SET"
access="INSERT INTO geostream.access (prefix, service, action) VALUES"
force='INSERT INTO geostream.breaker_forces (service, region, edge, state, expires_at) VALUES'

while IFS='|' read -r constraint statement; do
	[[ -n $constraint ]] || continue
	ok "$constraint: ${statement#*VALUES }" refused_by "$constraint" "$statement"
done <<SQL
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
services_breaker_min_volume|$set_service breaker_min_volume = 0
services_breaker_failure_percent|$set_service breaker_failure_percent = 101
services_breaker_consecutive|$set_service breaker_consecutive = -1
services_breaker_open|$set_service breaker_open_ms = 99
services_breaker_open_max|$set_service breaker_open_max_ms = 3600001
services_breaker_open_order|$set_service breaker_open_max_ms = 1999
services_breaker_trials|$set_service breaker_trials = 0
services_breaker_successes|$set_service breaker_successes = 101
services_breaker_ramp|$set_service breaker_ramp_ms = -1
breaker_forces_service_fkey|$force ('wob', 'eu', '', 'open', now() + interval '1 hour')
breaker_forces_region_fkey|$force ('web', 'mars', '', 'open', now() + interval '1 hour')
breaker_forces_edge|$force ('web', 'eu', E'a\nb', 'open', now() + interval '1 hour')
breaker_forces_state|$force ('web', 'eu', '', 'ajar', now() + interval '1 hour')
breaker_forces_expires|$force ('web', 'eu', '', 'open', now() + interval '8 days')
breaker_forces_expires|$force ('web', 'eu', '', 'open', now() - interval '1 second')
breaker_forces_reason|INSERT INTO geostream.breaker_forces (service, region, state, expires_at, reason) VALUES ('web', 'eu', 'open', now() + interval '1 hour', repeat('a', 128))
breaker_forces_actor|INSERT INTO geostream.breaker_forces (service, region, state, expires_at, actor) VALUES ('web', 'eu', 'open', now() + interval '1 hour', repeat('a', 64))
breaker_forces_pkey|$force ('web', 'eu', '', 'open', now() + interval '1 hour'), ('web', 'eu', '', 'closed', now() + interval '1 hour')
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
access_limit|INSERT INTO geostream.access SELECT ('10.0.0.0'::inet + 256::bigint * g)::cidr, NULL, 'deny' FROM generate_series(1, 65536) g
overrides_pkey|$override ('203.0.113.0/24', 1)
overrides_prefix|$override ('::ffff:10.0.0.0/104', 1)
overrides_region_fkey|$override ('10.0.0.0/8', 99)
overrides_reason|$override ('10.0.0.0/8', 1, repeat('a', 128))
overrides_reason|$override ('10.0.0.0/8', 1, E'a\x1b[31m')
overrides_limit|INSERT INTO geostream.overrides SELECT ('10.0.0.0'::inet + 256::bigint * g)::cidr, 1 FROM generate_series(1, 65536) g
revision_only_row|INSERT INTO geostream.revision (only_row, selection_seed) VALUES (false, 1)
revision_pkey|INSERT INTO geostream.revision (selection_seed) VALUES (1)
SQL

refuses "an override with host bits (the cidr type)" sql "$override ('10.0.0.1/8', 1)"
refuses "an override that is no prefix" sql "$override ('10.0.0/33', 1)"
is "nothing that was refused made a revision" "$(revision)" "$before"

# What is just within.
ok "the poles, the date line" sql "$region ('p', 90, -180, 0, 0, 'auto'), ('q', -90, 180, 1e300, 9223372036854775807, 'drain')"
ok "as many overrides as the tries hold, of each family" sql \
	"INSERT INTO geostream.overrides SELECT ('10.0.0.0'::inet + 256::bigint * g)::cidr, 1 FROM generate_series(1, 65535) g;
	 INSERT INTO geostream.overrides SELECT ('2001:db8::'::inet + 65536::bigint * g)::cidr, 1 FROM generate_series(1, 65536) g"
ok "a service of every port, probed elsewhere" sql \
	"INSERT INTO geostream.services (name, vip, port, protocol, policy, probe_port) VALUES ('all', '198.51.100.12', 0, 'udp', 1, 80)"
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
ok "a rule for each service, and of both families" sql "$access ('203.0.113.0/24', 2, 'deny'), ('::/0', NULL, 'deny'), ('0.0.0.0/0', NULL, 'allow')"
is "every named constraint of the desired state says what it is for" "$(sql "
	SELECT string_agg(conname, ' ') FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
	WHERE t.relname IN ('regions', 'policies', 'policy_regions', 'services', 'backends', 'overrides', 'access', 'breaker_forces')
	AND contype <> 't' AND conname NOT LIKE '%\_pkey' AND obj_description(c.oid, 'pg_constraint') IS NULL")" ""
done_testing

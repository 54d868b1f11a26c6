-- SPDX-License-Identifier: Apache-2.0
-- More kinds of probes, what they ask and what they want to hear; how long a service's failover may
-- take. What reads whole rows (revision, audit, rights) has the columns already.

ALTER TABLE geostream.services
	DROP CONSTRAINT services_probe_kind,
	ADD CONSTRAINT services_probe_kind CHECK (probe_kind IN
		('none', 'tcp', 'http', 'https', 'udp', 'dns', 'grpc', 'grpcs', 'icmp', 'exec')),
	DROP CONSTRAINT services_probe_needs_port,
	ADD CONSTRAINT services_probe_needs_port CHECK
		(probe_kind IN ('none', 'icmp', 'exec') OR port > 0 OR probe_port > 0),
	ADD COLUMN probe_status text NOT NULL DEFAULT '200-399'
		CONSTRAINT services_probe_status CHECK (length(probe_status) <= 63 AND probe_status ~
			'^[1-5][0-9][0-9](-[1-5][0-9][0-9])?(,[1-5][0-9][0-9](-[1-5][0-9][0-9])?){0,11}$'),
	ADD COLUMN probe_expect text NOT NULL DEFAULT ''
		CONSTRAINT services_probe_expect CHECK
			(length(probe_expect) <= 127 AND probe_expect ~ '^([ -[\]-~]|\\[\\nrt]|\\x[0-9a-fA-F]{2})*$'),
	ADD COLUMN probe_expect_at text NOT NULL DEFAULT 'anywhere'
		CONSTRAINT services_probe_expect_at CHECK (probe_expect_at IN ('anywhere', 'start')),
	ADD COLUMN probe_request text NOT NULL DEFAULT ''
		CONSTRAINT services_probe_request CHECK (length(probe_request) <= 255 AND CASE probe_kind
			WHEN 'dns' THEN probe_request = '.' OR (length(rtrim(probe_request, '.')) <= 253
				AND probe_request ~ '^[!-\-/-[\]-~]{1,63}([.][!-\-/-[\]-~]{1,63})*[.]?$')
			ELSE (probe_kind <> 'udp' OR probe_request <> '')
				AND probe_request ~ '^([ -[\]-~]|\\[\\nrt]|\\x[0-9a-fA-F]{2})*$' END),
	ADD COLUMN probe_trust text NOT NULL DEFAULT 'system'
		CONSTRAINT services_probe_trust CHECK (length(probe_trust) <= 255
			AND (probe_trust IN ('system', 'none') OR probe_trust ~ '^/[ -~]*$')),
	ADD COLUMN probe_dns_type text NOT NULL DEFAULT 'A'
		CONSTRAINT services_probe_dns_type CHECK (probe_dns_type IN ('A', 'AAAA', 'CAA', 'CNAME',
			'DNSKEY', 'DS', 'HTTPS', 'MX', 'NAPTR', 'NS', 'PTR', 'SOA', 'SRV', 'SVCB', 'TLSA', 'TXT')
			OR (probe_dns_type ~ '^TYPE[0-9]{1,5}$'
				AND substr(probe_dns_type, 5)::integer BETWEEN 1 AND 65535)),
	ADD COLUMN probe_dns_rcode text NOT NULL DEFAULT 'noerror'
		CONSTRAINT services_probe_dns_rcode CHECK (probe_dns_rcode IN
			('noerror', 'formerr', 'servfail', 'nxdomain', 'notimp', 'refused')),
	ADD COLUMN probe_command text NOT NULL DEFAULT ''
		CONSTRAINT services_probe_command CHECK (length(probe_command) <= 63 AND
			CASE WHEN probe_command = '' THEN probe_kind <> 'exec'
			ELSE probe_command ~ '^[A-Za-z0-9_][A-Za-z0-9._-]*$' END),
	ADD COLUMN probe_arguments text[] NOT NULL DEFAULT '{}'
		CONSTRAINT services_probe_arguments CHECK (
			array_position(probe_arguments, NULL) IS NULL AND array_position(probe_arguments, '') IS NULL
			AND length(array_to_string(probe_arguments, ',')) <= 255
			AND array_to_string(probe_arguments, '') ~ '^[ -~]*$'
			AND array_to_string(probe_arguments, '') !~ ','),
	ADD COLUMN failover_budget_ms integer NOT NULL DEFAULT 0
		CONSTRAINT services_failover_budget CHECK (failover_budget_ms BETWEEN 0 AND 3600000);
COMMENT ON COLUMN geostream.services.probe_host IS
	'HTTP Host header, gRPC authority, and the name a certificate is for; empty: the VIP';
COMMENT ON COLUMN geostream.services.probe_status IS 'HTTP statuses that are good';
COMMENT ON COLUMN geostream.services.probe_expect IS
	'what an HTTP body or the reply to a udp probe has to have; empty: anything will do';
COMMENT ON COLUMN geostream.services.probe_expect_at IS 'where it has to have it';
COMMENT ON COLUMN geostream.services.probe_request IS
	'udp: bytes that are sent; dns: the name that is asked for; grpc: the service whose health is asked, empty for all';
COMMENT ON COLUMN geostream.services.probe_trust IS
	'who signs certificates. system: the edge''s own CAs; a file of CAs on the edge; none: they are not looked at';
COMMENT ON COLUMN geostream.services.probe_dns_type IS 'the type that is asked for';
COMMENT ON COLUMN geostream.services.probe_dns_rcode IS 'the answer''s rcode; noerror needs a record, too';
COMMENT ON COLUMN geostream.services.probe_command IS
	'exec: a file in the edge''s folder of commands; exit code 0 is good';
COMMENT ON COLUMN geostream.services.failover_budget_ms IS
	'how long a failover may take at most, which checks warn of; 0: as the edge is set';
COMMENT ON CONSTRAINT services_probe_kind ON geostream.services IS
	'a probe''s kind is none, tcp, http, https, udp, dns, grpc, grpcs, icmp or exec';
COMMENT ON CONSTRAINT services_probe_needs_port ON geostream.services IS
	'a service of every port (0) needs a probe port, or probe kind none, icmp or exec';
COMMENT ON CONSTRAINT services_probe_status ON geostream.services IS
	'a probe''s statuses are up to 12 HTTP statuses and ranges of them, as 200-299,404';
COMMENT ON CONSTRAINT services_probe_expect ON geostream.services IS
	'what a probe expects is up to 127 printable ASCII characters and escapes (\\ \n \r \t \xHH)';
COMMENT ON CONSTRAINT services_probe_expect_at ON geostream.services IS
	'a probe expects its text anywhere or at the start';
COMMENT ON CONSTRAINT services_probe_request ON geostream.services IS
	'a udp probe needs bytes to send (printable ASCII, \\ \n \r \t \xHH), a dns probe a domain name';
COMMENT ON CONSTRAINT services_probe_trust ON geostream.services IS
	'a probe trusts system, none or the absolute path of a file of CAs';
COMMENT ON CONSTRAINT services_probe_dns_type ON geostream.services IS
	'a DNS type is one like A, SOA or TYPE65';
COMMENT ON CONSTRAINT services_probe_dns_rcode ON geostream.services IS
	'an rcode is noerror, formerr, servfail, nxdomain, notimp or refused';
COMMENT ON CONSTRAINT services_probe_command ON geostream.services IS
	'an exec probe needs a command: a file name of up to 63 of A-Z, a-z, 0-9, -, _ and ., not beginning with . or -';
COMMENT ON CONSTRAINT services_probe_arguments ON geostream.services IS
	'arguments are up to 255 printable ASCII characters, without commas, and none is empty';
COMMENT ON CONSTRAINT services_failover_budget ON geostream.services IS
	'a failover''s budget is 1 to 3600000 ms, or 0: as the edge is set';

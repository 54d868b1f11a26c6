-- SPDX-License-Identifier: Apache-2.0
-- Probes through the tunnel: to the VIP, wrapped as clients' packets are.

ALTER TABLE geostream.services
	ADD COLUMN probe_via text NOT NULL DEFAULT 'auto'
		CONSTRAINT services_probe_via CHECK (probe_via IN ('auto', 'direct', 'tunnel'));
COMMENT ON COLUMN geostream.services.probe_via IS
	'direct: to the backend''s own address; tunnel: to the VIP, as clients'' packets go; auto: tunnel, unless the probe has a port of its own';
COMMENT ON CONSTRAINT services_probe_via ON geostream.services IS
	'probes go by auto, direct or tunnel';

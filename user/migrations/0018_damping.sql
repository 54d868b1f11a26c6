-- SPDX-License-Identifier: Apache-2.0
-- Flap damping: a backend that goes down again and again is held down for a while.

ALTER TABLE geostream.services
	ADD COLUMN damping_suppress integer NOT NULL DEFAULT 2500
		CONSTRAINT services_damping_suppress CHECK (damping_suppress BETWEEN 0 AND 100000),
	ADD COLUMN damping_reuse integer NOT NULL DEFAULT 1500
		CONSTRAINT services_damping_reuse CHECK (damping_reuse BETWEEN 1 AND 99999),
	ADD COLUMN damping_half_life_s integer NOT NULL DEFAULT 60
		CONSTRAINT services_damping_half_life_s CHECK (damping_half_life_s BETWEEN 1 AND 3600),
	ADD COLUMN damping_ceiling_s integer NOT NULL DEFAULT 300
		CONSTRAINT services_damping_ceiling_s CHECK (damping_ceiling_s BETWEEN 1 AND 86400),
	ADD CONSTRAINT services_damping_span CHECK
		(damping_suppress <= 0 OR damping_reuse < damping_suppress);
COMMENT ON COLUMN geostream.services.damping_suppress IS
	'each time a backend goes down costs 1000, which halves every damping_half_life_s; from this on it is held down; 0: never';
COMMENT ON COLUMN geostream.services.damping_reuse IS 'and down to this';
COMMENT ON COLUMN geostream.services.damping_half_life_s IS 'in which the penalty halves';
COMMENT ON COLUMN geostream.services.damping_ceiling_s IS
	'it is held so long after it last went down at most';
COMMENT ON CONSTRAINT services_damping_suppress ON geostream.services IS
	'damping_suppress is 1 to 100000, or 0: never';
COMMENT ON CONSTRAINT services_damping_reuse ON geostream.services IS
	'damping_reuse is 1 to 99999';
COMMENT ON CONSTRAINT services_damping_half_life_s ON geostream.services IS
	'a penalty halves in 1 s to an hour';
COMMENT ON CONSTRAINT services_damping_ceiling_s ON geostream.services IS
	'a backend is held for 1 s to a day at most';
COMMENT ON CONSTRAINT services_damping_span ON geostream.services IS
	'damping_reuse is less than damping_suppress';

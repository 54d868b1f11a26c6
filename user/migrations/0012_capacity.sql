-- SPDX-License-Identifier: Apache-2.0
-- Capacity: to how much of it a region is filled, who is shed last, and what edges see of demand.

ALTER TABLE geostream.regions
	ADD COLUMN target integer NOT NULL DEFAULT 0
		CONSTRAINT regions_target CHECK (target BETWEEN 0 AND 100);
COMMENT ON COLUMN geostream.regions.target IS
	'percent of its capacity that a region is filled to before others take what is more; 0: 80';
COMMENT ON CONSTRAINT regions_target ON geostream.regions IS
	'a target is 1 to 100 percent of the capacity, or 0: 80';

ALTER TABLE geostream.services
	ADD COLUMN limit_priority integer NOT NULL DEFAULT 4
		CONSTRAINT services_limit_priority CHECK (limit_priority BETWEEN 0 AND 7);
COMMENT ON COLUMN geostream.services.limit_priority IS
	'where all regions of a client are full, services of lower priorities are shed first';
COMMENT ON CONSTRAINT services_limit_priority ON geostream.services IS 'a priority is 0 to 7';

-- ---- what edges see ------------------------------------------------------------------------------
CREATE TABLE geostream.edge_demand (
	edge text COLLATE "C" NOT NULL
		CONSTRAINT edge_demand_edge CHECK (octet_length(edge) BETWEEN 1 AND 255),
	home text COLLATE "C" NOT NULL
		CONSTRAINT edge_demand_home CHECK (octet_length(home) BETWEEN 1 AND 63),
	usable text[] COLLATE "C" NOT NULL
		CONSTRAINT edge_demand_usable CHECK (cardinality(usable) <= 16),
	priority integer NOT NULL CONSTRAINT edge_demand_priority CHECK (priority BETWEEN 0 AND 7),
	per_second real NOT NULL
		CONSTRAINT edge_demand_per_second CHECK (per_second > 0 AND per_second < 'infinity'),
	told_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT edge_demand_pkey PRIMARY KEY (edge, home, usable, priority)
);
CREATE INDEX edge_demand_told_at ON geostream.edge_demand (told_at);
COMMENT ON TABLE geostream.edge_demand IS
	'new flows a second that an edge sees, by where its clients belong and may go; every edge fills regions by the sum';
COMMENT ON COLUMN geostream.edge_demand.home IS 'the region whose clients they are';
COMMENT ON COLUMN geostream.edge_demand.usable IS
	'regions they may go to, as this edge sees them now, in the order of names; home is not among them if it is down';
COMMENT ON COLUMN geostream.edge_demand.priority IS 'of their services';
COMMENT ON COLUMN geostream.edge_demand.told_at IS
	'written when it has changed, and every 10 s; what is older than 60 s does not count any more';
COMMENT ON CONSTRAINT edge_demand_pkey ON geostream.edge_demand IS
	'an edge tells of clients with one home, choice and priority once';
COMMENT ON CONSTRAINT edge_demand_edge ON geostream.edge_demand IS 'an edge''s name is 1 to 255 bytes';
COMMENT ON CONSTRAINT edge_demand_home ON geostream.edge_demand IS 'a region''s name is 1 to 63 bytes';
COMMENT ON CONSTRAINT edge_demand_usable ON geostream.edge_demand IS 'a plan has up to 16 regions';
COMMENT ON CONSTRAINT edge_demand_priority ON geostream.edge_demand IS 'a priority is 0 to 7';
COMMENT ON CONSTRAINT edge_demand_per_second ON geostream.edge_demand IS
	'a demand is more than 0, and finite';

CREATE VIEW geostream.demand AS
	SELECT home AS region, priority, sum(per_second) AS per_second, count(DISTINCT edge) AS edges,
		min(told_at) AS told_at
	FROM geostream.edge_demand WHERE told_at > now() - interval '60 seconds'
	GROUP BY home, priority;
COMMENT ON VIEW geostream.demand IS
	'new flows a second of all edges, by the region whose clients they are, and by priority';

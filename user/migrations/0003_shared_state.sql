-- SPDX-License-Identifier: Apache-2.0
-- What edges tell: never part of the desired state, never a new revision. Objects are named, not
-- referenced: what is told of a backend outlives the backend.

CREATE TABLE geostream.edges (
	name text NOT NULL CONSTRAINT edges_pkey PRIMARY KEY
		CONSTRAINT edges_name CHECK (octet_length(name) BETWEEN 1 AND 255),
	version text NOT NULL,
	connected_at timestamptz NOT NULL DEFAULT now(),
	seen_at timestamptz NOT NULL DEFAULT now(),
	generation bigint NOT NULL DEFAULT 0,
	revision bigint NOT NULL DEFAULT 0,
	digest bigint NOT NULL DEFAULT 0,
	published_at timestamptz,
	geo_path text NOT NULL DEFAULT '',
	geo_build_at timestamptz
);
COMMENT ON TABLE geostream.edges IS 'machines running GeoStream, and what each runs on';
COMMENT ON COLUMN geostream.edges.seen_at IS 'written every 10 s while the edge is connected';
COMMENT ON COLUMN geostream.edges.digest IS 'edges of equal digests decide alike (64 bits, signed here)';

CREATE TABLE geostream.generations (
	edge text NOT NULL
		CONSTRAINT generations_edge_fkey REFERENCES geostream.edges (name) ON DELETE CASCADE,
	number bigint NOT NULL,
	published_at timestamptz NOT NULL,
	revision bigint NOT NULL,
	digest bigint NOT NULL,
	geo_path text NOT NULL,
	geo_build_at timestamptz,
	CONSTRAINT generations_pkey PRIMARY KEY (edge, number, published_at)
);
COMMENT ON TABLE geostream.generations IS 'the last 100 generations each edge put in force';

CREATE TABLE geostream.health_states (
	edge text NOT NULL,
	kind text NOT NULL CONSTRAINT health_states_kind CHECK (kind IN ('region', 'pool', 'backend')),
	region text NOT NULL DEFAULT '',
	service text NOT NULL DEFAULT '',
	backend text NOT NULL DEFAULT '',
	state text NOT NULL,
	why text NOT NULL DEFAULT '',
	since timestamptz NOT NULL,
	CONSTRAINT health_states_pkey PRIMARY KEY (edge, kind, region, service, backend)
);
COMMENT ON TABLE geostream.health_states IS
	'the last state each edge saw a backend, pool or region in';

CREATE TABLE geostream.transitions (
	id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT transitions_pkey PRIMARY KEY,
	edge text NOT NULL,
	run bigint NOT NULL,
	number bigint NOT NULL,
	at timestamptz NOT NULL,
	kind text NOT NULL CONSTRAINT transitions_kind CHECK (kind IN ('region', 'pool', 'backend')),
	region text NOT NULL DEFAULT '',
	service text NOT NULL DEFAULT '',
	backend text NOT NULL DEFAULT '',
	from_state text NOT NULL,
	to_state text NOT NULL,
	why text NOT NULL DEFAULT '',
	CONSTRAINT transitions_once UNIQUE (edge, run, number)
);
CREATE INDEX transitions_at ON geostream.transitions (at);
COMMENT ON TABLE geostream.transitions IS 'every change of a state, once, in each edge''s order';
COMMENT ON COLUMN geostream.transitions.run IS
	'random number of the daemon''s run: with number the key that makes writing again harmless';
COMMENT ON COLUMN geostream.transitions.number IS 'counts the transitions of a run from 1';
COMMENT ON CONSTRAINT transitions_once ON geostream.transitions IS 'each transition is written once';

-- SPDX-License-Identifier: Apache-2.0
-- Round trips by probes: what edges measure themselves, from where they are, of each region.

ALTER TABLE geostream.latency_samples DROP CONSTRAINT latency_samples_place,
	ADD CONSTRAINT latency_samples_place CHECK (place ~
		'^(probes|cell:[A-Z]{2}(-[A-Z0-9]{1,3})?/(0|-?([1-9]|[1-8][0-9]|90)),(0|-?([1-9][0-9]?|1[0-7][0-9]|180)))$');
COMMENT ON TABLE geostream.latency_samples IS
	'round trips as each edge saw them of late: of handshakes, clients of a cell to a region; of its own probes, itself to a region; rows older than 20 minutes go with any edge''s writes';
COMMENT ON COLUMN geostream.latency_samples.place IS
	'a square of one degree, by its south-western corner, in a subdivision or country: cell:DE-BE/52,13; or probes: the edge itself';
COMMENT ON COLUMN geostream.latency_samples.samples IS
	'handshakes of the last five to ten minutes; probes of the last half to whole one';
COMMENT ON COLUMN geostream.latency_samples.rtt_us IS
	'the median of the newest ones; of probes that of backends, of each its least';
COMMENT ON COLUMN geostream.latency_samples.at IS 'of the newest handshake or probe';
COMMENT ON CONSTRAINT latency_samples_place ON geostream.latency_samples IS
	'a cell is one like cell:DE-BE/52,13 or cell:DE/52,13; what is of no cell is probes';

ALTER TABLE geostream.latency_estimates DROP CONSTRAINT latency_estimates_place,
	ADD CONSTRAINT latency_estimates_place CHECK (place ~
		'^(everybody|probes|continent:(AF|AN|AS|EU|NA|OC|SA)|country:[A-Z]{2}|subdivision:[A-Z]{2}-[A-Z0-9]{1,3}|cell:[A-Z]{2}(-[A-Z0-9]{1,3})?/(0|-?([1-9]|[1-8][0-9]|90)),(0|-?([1-9][0-9]?|1[0-7][0-9]|180)))$');
COMMENT ON COLUMN geostream.latency_estimates.us IS
	'of a cell: the round trip in microseconds; of a larger place, and of probes: how much more than distance alone';
COMMENT ON CONSTRAINT latency_estimates_place ON geostream.latency_estimates IS
	'a place is everybody, probes, continent:EU, country:DE, subdivision:US-CA or a cell';

-- SPDX-License-Identifier: Apache-2.0
-- The audit looks for its own row of this transaction and object, row by row of a statement, with one
-- plan, made when the table may still be small. A scan of it, or an index on `at`, which all rows of a
-- transaction share, meets every row written before: 65,535 overrides took seven minutes.

ALTER FUNCTION geostream.note_change(text, text, jsonb, jsonb)
	SET enable_seqscan = off;
ALTER FUNCTION geostream.note_change(text, text, jsonb, jsonb)
	SET enable_bitmapscan = off;
-- Serves "since when", and is nothing to look one row up in.
DROP INDEX geostream.audit_at;
CREATE INDEX audit_at ON geostream.audit USING brin (at);

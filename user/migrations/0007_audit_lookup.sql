-- SPDX-License-Identifier: Apache-2.0
-- The audit looks for its own row of this transaction and object, row by row of a statement, with one
-- plan, made when the table may still be small. A scan of it meets every row written before: 65,535
-- overrides took minutes.

ALTER FUNCTION geostream.note_change(text, text, jsonb, jsonb)
	SET enable_seqscan = off;
ALTER FUNCTION geostream.note_change(text, text, jsonb, jsonb)
	SET enable_bitmapscan = off;
-- Some databases have it as an ordinary index, by which one row would be looked for among all of its
-- transaction. As block ranges it serves "since when" only.
DROP INDEX IF EXISTS geostream.audit_at;
CREATE INDEX audit_at ON geostream.audit USING brin (at);

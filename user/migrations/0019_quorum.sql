-- SPDX-License-Identifier: Apache-2.0
-- The quorum's rule is desired state as any other: who changes it waits for his turn, a change is a
-- revision, and the audit has it.

ALTER TABLE geostream.audit
	DROP CONSTRAINT audit_kind,
	ADD CONSTRAINT audit_kind CHECK (kind IN ('region', 'policy', 'service', 'backend', 'override',
		'access', 'fence', 'force', 'overlay', 'quorum', 'seed'));

CREATE FUNCTION geostream.audit_quorum() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
	PERFORM geostream.note_change('quorum', 'rule', to_jsonb(OLD) - 'only_row', to_jsonb(NEW) - 'only_row');
	RETURN NULL;
END $$;
CREATE TRIGGER m_audit_quorum AFTER UPDATE ON geostream.quorum FOR EACH ROW
	EXECUTE FUNCTION geostream.audit_quorum();
SELECT geostream.track('geostream.quorum');

COMMENT ON TABLE geostream.quorum IS
	'how many of the failure domains it takes: geostreamctl quorum set down_permille=660; part of the desired state, not of a configuration document';

SELECT geostream.grant_roles();

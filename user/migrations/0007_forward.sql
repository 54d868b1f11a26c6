-- SPDX-License-Identifier: Apache-2.0
-- How packets go to a backend. What reads whole rows (revision, audit, rights) has it already.

ALTER TABLE geostream.backends
	ADD COLUMN forward text NOT NULL DEFAULT 'ipip'
		CONSTRAINT backends_forward CHECK (forward IN ('ipip', 'gue', 'l2'));
COMMENT ON COLUMN geostream.backends.forward IS
	'ipip: in an IP header; gue: behind UDP, too; l2: as they came, to its MAC, on the edge''s link';
COMMENT ON CONSTRAINT backends_forward ON geostream.backends IS 'forward is ipip, gue or l2';

-- Without an outer header the packet is what the client sent: of the VIP's family. Free of races,
-- as refuse_vip_loop() is, and deferrable, so that service and backends may change together.
CREATE FUNCTION geostream.refuse_l2_family() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	clash record;
BEGIN
	IF TG_TABLE_NAME = 'services' THEN
		SELECT s.name AS service, s.vip, b.name AS backend, b.address INTO clash
		FROM geostream.services s JOIN geostream.backends b ON b.service = s.id
		WHERE s.id = NEW.id AND b.forward = 'l2' AND family(b.address) <> family(s.vip) LIMIT 1;
	ELSE
		SELECT s.name AS service, s.vip, b.name AS backend, b.address INTO clash
		FROM geostream.services s JOIN geostream.backends b ON b.service = s.id
		WHERE b.id = NEW.id AND b.forward = 'l2' AND family(b.address) <> family(s.vip);
	END IF;
	IF FOUND THEN
		RAISE EXCEPTION 'backend %: l2 needs an IPv% address, as the VIP % of service % is; % is IPv%',
			clash.backend, family(clash.vip), host(clash.vip), clash.service, host(clash.address),
			family(clash.address)
			USING ERRCODE = 'check_violation', SCHEMA = 'geostream', TABLE = TG_TABLE_NAME,
				CONSTRAINT = TG_NAME;
	END IF;
	RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION geostream.refuse_l2_family() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER services_vip_fits_l2 AFTER UPDATE OF vip
	ON geostream.services DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION geostream.refuse_l2_family();
CREATE CONSTRAINT TRIGGER backends_forward_fits_vip AFTER INSERT OR UPDATE OF service, address, forward
	ON geostream.backends DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW WHEN (NEW.forward = 'l2') EXECUTE FUNCTION geostream.refuse_l2_family();
COMMENT ON TRIGGER services_vip_fits_l2 ON geostream.services IS
	'a VIP is of the family of the backends that get its packets by l2';
COMMENT ON TRIGGER backends_forward_fits_vip ON geostream.backends IS
	'a backend that gets packets by l2 is of the VIP''s family';

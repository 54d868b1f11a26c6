#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ids are small, the lowest free one is taken, and one that was in use rests for a day.
. tests/db/database.sh
db_test ids
ctl db migrate >/dev/null

add() { # NAME...
	sql "INSERT INTO geostream.regions (name, latitude, longitude)
		SELECT unnest(string_to_array('$*', ' ')), 1, 1"
}
ids() {
	sql "SELECT coalesce(string_agg(name || id, ' ' ORDER BY id), '') FROM geostream.regions"
}

add a b c
is "the lowest first, in the order they come" "$(ids)" "a1 b2 c3"
sql "DELETE FROM geostream.regions WHERE name = 'b'"
add d
is "what was just in use rests" "$(ids)" "a1 c3 d4"
sql "BEGIN; DELETE FROM geostream.regions WHERE name = 'a';
	INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('a', 1, 1); COMMIT"
is "so it does within a transaction" "$(ids)" "c3 d4 a5"
sql "UPDATE geostream.retired_ids SET retired_at = now() - interval '23 hours 59 minutes'"
add e
is "23 hours later too" "$(ids)" "c3 d4 a5 e6"
sql "UPDATE geostream.retired_ids SET retired_at = now() - interval '1 day 1 minute'"
add f g h
is "a day later it is taken again, lowest first" "$(ids)" "f1 g2 c3 d4 a5 e6 h7"
sql "TRUNCATE geostream.regions CASCADE"
add i
is "TRUNCATE retires them all" "$(ids)" "i8"
is "of the kind only" "$(sql "SELECT DISTINCT kind FROM geostream.retired_ids")" "regions"
sql "BEGIN; INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('x', 1, 1); ROLLBACK"
add j
is "what was rolled back was never in use" "$(ids)" "i8 j9"
sql "INSERT INTO geostream.regions (id, name, latitude, longitude) VALUES (10, 'k', 1, 1), (200, 'l', 1, 1)"
add m
is "an id that is given (a restored backup) is kept, and stepped over" "$(ids)" "i8 j9 k10 m11 l200"

# Writers at once: no id twice, no revision lost, whoever commits first.
before=$(revision)
for writer in 1 2 3 4 5 6; do
	for round in 1 2 3 4 5; do
		echo "INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('w$writer-$round', 1, 1);"
	done | "$PSQL" "$DATABASE" -X -q -v ON_ERROR_STOP=1 &
done
wait
is "30 transactions of 6 writers: 30 rows" \
	"$(sql "SELECT count(*) FROM geostream.regions WHERE name LIKE 'w%'")" 30
is "30 revisions" "$(($(revision) - before))" 30
done_testing

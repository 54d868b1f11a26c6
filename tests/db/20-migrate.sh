#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Migrations: once each, two at once, changed, newer, failing halfway, unreachable.
. tests/db/database.sh
db_test migrate
known=$(printf '%s\n' user/migrations/[0-9]*.sql | wc -l)

like "check of an empty database names the remedy" "$(ctl db check 2>&1)" 'run geostreamctl db migrate'
refuses "and exits with 1" ctl db check
like "commands on an empty database name it too" "$(ctl region list 2>&1)" 'run geostreamctl db migrate'
is "check changed nothing" "$(sql "SELECT to_regnamespace('geostream') IS NULL")" t

for i in 1 2 3 4; do
	ctl db migrate >"$TAP_WORK/migrate.$i" 2>&1 &
	pids[i]=$!
done
failed=0
for i in 1 2 3 4; do
	wait "${pids[i]}" || failed=$((failed + 1))
done
is "four at once: none fails" "$failed" 0
is "each migration ran once" "$(cat "$TAP_WORK"/migrate.* | grep -c '^applied ')" "$known"
is "all are on record" "$(sql 'SELECT count(*) FROM geostream.migrations')" "$known"
ok "check is content" ctl db check
is "as JSON" "$(ctl -j db check | tr -d ' \n')" "{\"known\":$known,\"applied\":$known,\"now\":0}"
seed=$(sql 'SELECT selection_seed FROM geostream.revision')
like "again: nothing to do" "$(ctl db migrate)" "^schema: $known of $known migrations applied\$"
is "the selection seed stays" "$(sql 'SELECT selection_seed FROM geostream.revision')" "$seed"
refuses "the seed is random" test "$seed" = 0

sql "INSERT INTO geostream.migrations VALUES (99, '0099_future', 'x')"
like "a newer database is refused" "$(ctl db migrate 2>&1)" 'newer than this program.*0099_future'
refuses "check exits with 1" ctl db check
sql "DELETE FROM geostream.migrations WHERE number = 99;
	UPDATE geostream.migrations SET checksum = repeat('0', 64) WHERE number = 2"
like "a migration changed after it ran is refused" "$(ctl db migrate 2>&1)" \
	'migration 2 .*changed after it ran'
refuses "migrate exits with 1" ctl db migrate
sql "DELETE FROM geostream.migrations WHERE number = 2"
like "so is a gap" "$(ctl db check 2>&1)" 'migration 2 is missing'

# The second migration fails: the first stays, the second is undone whole; repaired, it goes on.
sql "DROP SCHEMA geostream CASCADE; CREATE SCHEMA geostream; CREATE TABLE geostream.backends (x int)"
like "one that fails is named" "$(ctl db migrate 2>&1)" '0002_desired_state: .*already exists'
is "it left nothing" "$(sql "SELECT to_regclass('geostream.regions') IS NULL")" t
is "the one before is on record" "$(sql 'SELECT max(number) FROM geostream.migrations')" 1
sql "DROP TABLE geostream.backends"
ok "repaired, the rest follows" ctl db migrate
ok "and check is content" ctl db check

DATABASE="host=/nonexistent user=x password=geheim" said=$(GEOSTREAM_DATABASE="host=/nonexistent user=x password=geheim" ctl db migrate 2>&1)
like "unreachable: one clear line" "$said" '^geostreamctl: database: .*/nonexistent'
is "one line" "$(wc -l <<<"$said")" 1
refuses "without the password" grep -q geheim <<<"$said"
said=$(GEOSTREAM_DATABASE="host=x password=ge heim" ctl region list 2>&1)
refuses "not even one that is mistyped" grep -q heim <<<"$said"
like "which is said" "$said" 'neither "key=value'

is "embed.sh wants numbers without gaps" \
	"$(user/migrations/embed.sh user/migrations/0001*.sql user/migrations/0003*.sql 2>&1 >/dev/null | grep -c 'expected number 2')" 1
done_testing

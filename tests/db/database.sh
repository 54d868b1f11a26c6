# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A database of its own for a shell test, destroyed whatever happens. Source it, then:
#
#	db_test NAME            start a cluster in $BUILD/test-db-NAME, remember its conninfo
#	ctl ...                 geostreamctl on it
#	sql 'STATEMENT'         what psql prints, unaligned; its errors with SQLSTATE and constraint
#	refusals <<SQL          of its lines NAME|STATEMENT, each fails by the constraint (or trigger)
#	                        of that name; in one session, each in a transaction of its own
#	revision                the number

. tests/e2e/lib.sh

BUILD=${BUILD:-build}
PSQL=$(printf '%s\n' /usr/lib/postgresql/*/bin/psql | sort -V | tail -n 1)
[[ -x $PSQL ]] || PSQL=psql
unset GEOSTREAM_CONFIG "${!PG@}"

db_test() { # NAME
	DB_DIR=$BUILD/test-db-$1
	tests/db/cluster.sh destroy "$DB_DIR"
	at_exit tests/db/cluster.sh destroy "$DB_DIR"
	DATABASE=$(tests/db/cluster.sh start "$DB_DIR") || exit 1
	export GEOSTREAM_DATABASE=$DATABASE
}

ctl() {
	"$BUILD/geostreamctl" "$@"
}

sql() { # STATEMENT
	"$PSQL" "$DATABASE" -X -q -A -t -v ON_ERROR_STOP=1 -v VERBOSITY=verbose \
		-c 'SET client_min_messages = warning' -c "$1"
}

refusals() {
	local rows row said constraint
	mapfile -t rows < <(grep .)
	for row in "${!rows[@]}"; do
		# What psql is told to say goes the way of errors, so that they stay in order.
		printf '\\warn -- row %d\nBEGIN;\n%s;\nCOMMIT;\n' "$row" "${rows[row]#*|}"
	done >"$TAP_WORK/refusals.sql"
	printf '\\warn -- row end\n' >>"$TAP_WORK/refusals.sql"
	"$PSQL" "$DATABASE" -X -q -A -t -v VERBOSITY=verbose -c 'SET client_min_messages = warning' \
		-f "$TAP_WORK/refusals.sql" >"$TAP_WORK/refusals.out" 2>&1 </dev/null
	for row in "${!rows[@]}"; do
		constraint=${rows[row]%%|*}
		said=$(sed -n "/^-- row $row\$/,/^-- row /p" "$TAP_WORK/refusals.out")
		ok "$constraint: ${rows[row]#*VALUES }" grep -q "^.*CONSTRAINT NAME:  $constraint\$" <<<"$said"
		[[ $said == *"$constraint"* ]] || printf '%s\n' "$said"
	done
}

revision() {
	sql 'SELECT revision FROM geostream.revision'
}

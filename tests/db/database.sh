# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A database of its own for a shell test, destroyed whatever happens. Source it, then:
#
#	db_test NAME            start a cluster in $BUILD/test-db-NAME, remember its conninfo
#	ctl ...                 geostreamctl on it
#	sql 'STATEMENT'         what psql prints, unaligned; its errors with SQLSTATE and constraint
#	refused_by NAME 'SQL'   the statement fails by the constraint (or trigger) of that name
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

refused_by() { # CONSTRAINT STATEMENT
	local said
	if said=$(sql "$2" 2>&1); then
		echo "accepted: $2"
		return 1
	fi
	grep -qx "CONSTRAINT NAME:  $1" <<<"$said" || {
		echo "$said"
		return 1
	}
}

revision() {
	sql 'SELECT revision FROM geostream.revision'
}

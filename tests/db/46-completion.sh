#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Completion in bash: what TAB offers.
. tests/db/database.sh
db_test completion
ctl db migrate >/dev/null || exit 1
ctl apply -f tests/lab/lab.json >/dev/null || exit 1
PATH=$(cd "$BUILD" && pwd):$PATH
# shellcheck source=user/ctl/geostreamctl.bash
. user/ctl/geostreamctl.bash

offers() { # WORD...; the last one is being typed
	COMP_WORDS=(geostreamctl "$@")
	COMP_CWORD=$#
	_geostreamctl
	echo "${COMPREPLY[*]}"
}
is "objects" "$(offers re)" region
like "all of them" "$(offers '')" 'apply .*audit .*backend .*breaker .*edge .*export .*service'
is "verbs" "$(offers region s)" "show set"
is "verbs of another" "$(offers breaker '')" "list force release"
is "after options" "$(offers -d "$GEOSTREAM_DATABASE" -j policy re)" remove
is "names" "$(offers region show '')" "eu us ap"
is "some of them" "$(offers backend remove us-1-)" "us-1-web6 us-1-cross us-1-cross6"
is "fields" "$(offers region set eu c)" "cost= capacity="
is "fields of what is there once" "$(offers quorum set '')" "down_permille="
is "which is shown without a name" "$(offers quorum show '')" ""
is "a breaker's service and region" "$(offers breaker force web e)" eu
is "words of an operator" "$(offers region f)" "force-up force-down"
is "what they are laid over" "$(offers region drain '')" "eu us ap"
is "of a service, in its regions" "$(offers service drain web@)" "web@ap web@eu web@us"
is "on this edge alone" "$(offers edge region d)" drain
is "what it is laid over" "$(offers edge service drain web@e)" "web@eu"
is "options of theirs" "$(offers region drain --f)" "--for --force"
is "limits' fields" "$(offers region set eu l)" "latitude= longitude= limit_packets= limit_flows="
ctl access add 192.0.2.0/24 deny >/dev/null && ctl access add 192.0.2.0/24@web allow "for a while" >/dev/null || exit 1
is "access rules by their names" "$(offers access remove '')" "192.0.2.0/24 192.0.2.0/24@web"
ctl fence add country:DE eu,us >/dev/null && ctl fence add country:DE@web eu >/dev/null || exit 1
is "fences by theirs" "$(offers fence remove '')" "country:DE country:DE@web"
is "their fields" "$(offers fence set country:DE@web u)" "unknown="
is "verbs of the flow table" "$(offers flow f)" flush
is "options of a command" "$(offers flow list --)" "--backend --limit --service --state"
is "of one word, too" "$(offers monitor --s)" "--service --src"
is "names behind an option" "$(offers flow flush --backend us-1-)" "us-1-web6 us-1-cross us-1-cross6"
is "of services" "$(offers monitor --every 8 --service web)" "web web6"
is "words behind an option" "$(offers flow count --by re)" region
is "a flow has no name" "$(offers flow show '')" ""
is "an object there is not" "$(offers mars '')" ""
is "hostile words run nothing" "$(offers "x'; touch $TAP_WORK/ran; '" '')" ""
refuses "nothing ran" test -e "$TAP_WORK/ran"
is "no database: no names, no noise" "$(GEOSTREAM_DATABASE=host=/nonexistent offers region show '' 2>&1)" ""
done_testing

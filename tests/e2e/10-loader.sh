#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# geostream-loader on a veth pair of its own:
#
#	gs-ld-a-PID             gs-ld-b-PID (10.99.0.2)
#	   edge0  ------------------ peer0
#
# What is attached stays, what is another's is not touched, and whatever goes wrong leaves nothing
# that stops the next start.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

BUILD=${BUILD:-build}
A=gs-ld-a-$$
B=gs-ld-b-$$
PINS=/sys/fs/bpf/gs-loader-$$
OTHER=/sys/fs/bpf/gs-bystander-$$
LAYOUT=$(awk '$2 == "GS_MAPS_VERSION" { print $3 + 0 }' maps/gs_maps.h)
MAPS='access4 access6 answers asked backends count_backend count_reason count_region count_service count_syn demand events fill flows fragments geo4 geo6 handshakes hops leases limits links meta monitor monitor_cpu nat_details nat_flows override4 override6 own_macs plans pools prog region_limits rings routes samples services trials tunnel_told tunnels usable_backend usable_pool usable_region'

in_a() { nsenter --net="/run/netns/$A" "$@"; }
in_b() { nsenter --net="/run/netns/$B" "$@"; }
loader() { in_a "$BUILD/geostream-loader" --pin-dir "$PINS" "$@"; }
status() { loader status "$1" -j | jq -r "$2"; }
xdp_id() { in_a ip -j link show dev "$1" | jq -r '.[0].xdp.prog.id // 0'; }
map_id() { bpftool -j map show pinned "$PINS/$1" | jq .id; }
# What a failing command says; success would be a failure of the test.
says() { { loader "$@" >/dev/null && echo "and it exited with 0"; } 2>&1; }
pinned() { (cd "$PINS" 2>/dev/null && printf '%s ' *) | sed 's/ $//'; }
nothing_left() { [[ ! -e $PINS ]] && [[ $(xdp_id edge0) == 0 ]]; }

in_a_cleanup() {
	loader detach edge0
	loader detach lo
	loader detach edge0 --purge
	rm -rf "$PINS" "$OTHER"
	ip netns del "$A"
	ip netns del "$B"
}

need "bpffs" sh -c 'mountpoint -q /sys/fs/bpf || mount -t bpf bpffs /sys/fs/bpf'
need "a network namespace" ip netns add "$A"
at_exit in_a_cleanup
need "another" ip netns add "$B"
need "a veth pair" ip -n "$A" link add edge0 type veth peer name peer0 netns "$B"
in_a sysctl -qw net.ipv6.conf.all.disable_ipv6=1
in_b sysctl -qw net.ipv6.conf.all.disable_ipv6=1
need "edge0 up" ip -n "$A" link set edge0 up
need "peer0 up" ip -n "$B" link set peer0 up
ip -n "$B" address add 10.99.0.2/24 dev peer0
mac=$(ip -n "$A" -j link show edge0 | jq -r '.[0].address')
ip -n "$B" neighbour add 10.99.0.1 lladdr "$mac" dev peer0

# ---- wrong usage: exit 2, nothing touched --------------------------------------------------------
usage_row() { # NAME REGEX ARGUMENT...
	local name=$1 regex=$2 code=0 out
	shift 2
	out=$(loader "$@" 2>&1) || code=$?
	like "usage: $name" "exit $code $out" "^exit 2 .*$regex"
}
usage_row "no command" "Usage:"
usage_row "unknown command" "unknown command 'atach'" atach edge0
usage_row "no interface" "which interface" attach --mode native
usage_row "two interfaces" "one interface" attach edge0 edge1 --mode native
usage_row "no mode: there is no default" "which --mode" attach edge0
usage_row "unknown mode" "--mode 'fast'" attach edge0 --mode fast
usage_row "replace keeps the mode" "replace takes no --mode" replace edge0 --mode native
usage_row "status does not purge" "status takes no --purge" status edge0 --purge
usage_row "join or remove" "one of the two" attach edge0 --mode native --beside --force
usage_row "flows no number" "--flows 'many'" attach edge0 --mode native --flows many
usage_row "flows no power of two" "--flows '100'" attach edge0 --mode native --flows 100
usage_row "flows negative" "--flows '-8'" attach edge0 --mode native --flows -8
usage_row "NAT planes no power of two" "--nat-planes '3'" attach edge0 --mode native --nat-planes 3
usage_row "NAT planes too many" "--nat-planes '512'" attach edge0 --mode native --nat-planes 512
usage_row "flows too many" "--flows '33554432'" attach edge0 --mode native --flows 33554432
usage_row "unknown option" "unrecognized option" attach edge0 --mode native --please
ok "--help" sh -c "$BUILD/geostream-loader --help | grep -q 'attach INTERFACE --mode MODE'"
ok "--version" sh -c "$BUILD/geostream-loader --version | grep -q '^geostream-loader [0-9]'"
ok "wrong usage left nothing" nothing_left

# ---- what cannot work: exit 1, one line, nothing left --------------------------------------------
failure_row() { # NAME REGEX ARGUMENT...
	local name=$1 regex=$2 code=0 out
	shift 2
	out=$(loader "$@" 2>&1) || code=$?
	like "refused: $name" "exit $code $out" "^exit 1 geostream-loader: [a-z0-9]+: $regex"
	is "refused: $name: one line" "$(wc -l <<<"$out")" 1
}
failure_row "unknown interface" "no such interface" attach nowhere0 --mode native
failure_row "interface name too long" "no such interface" attach averyveryverylongname0 --mode native
failure_row "status of an unknown interface" "no such interface" status nowhere0
failure_row "detach of an unknown interface" "no such interface" detach nowhere0
failure_row "detach of a free interface" "not attached" detach edge0
failure_row "replace on a free interface" "not attached" replace edge0
failure_row "missing object" "BPF object /nowhere.o: No such file" attach edge0 --mode native -o /nowhere.o
printf 'no ELF at all' >"$TAP_WORK/broken.o"
failure_row "broken object" "$TAP_WORK/broken.o is no BPF object" \
	attach edge0 --mode native -o "$TAP_WORK/broken.o"
failure_row "another's object" ".*no XDP program named gs_xdp" \
	attach edge0 --mode native -o "$BUILD/bpf/bystander.bpf.o"
failure_row "lo has no native mode, and none is put in its place" "its driver has no native XDP" \
	attach lo --mode native
failure_row "offload" "mode offload: the card does not take the program" attach edge0 --mode offload
failure_row "pin folder not absolute" "pin folder 'pins'" attach edge0 --mode native --pin-dir pins
failure_row "pin folder on no bpffs" "$TAP_WORK/pins is not on a bpffs" \
	attach edge0 --mode native --pin-dir "$TAP_WORK/pins"
is "lo is as it was" "$(xdp_id lo)" 0
ok "what failed left nothing" nothing_left
cp -r "$BUILD/geostream-loader" "$TAP_WORK/"
mkdir "$TAP_WORK/bpf"
cp "$BUILD/bpf/gs_xdp.bpf.o" "$TAP_WORK/bpf/"
chmod 755 "$TAP_WORK" "$TAP_WORK/bpf"
out=$(in_a setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
	"$TAP_WORK/geostream-loader" attach edge0 --mode native -p "$PINS" 2>&1)
like "refused: not root" "exit $? $out" '^exit 1 geostream-loader: edge0: .*needs root, or CAP_BPF'
out=$(ip netns exec "$A" "$BUILD/geostream-loader" attach edge0 --mode native -p "$PINS" 2>&1)
like "refused: pins that would vanish with the command" "exit $? $out" '^exit 1 .*nsenter --net='
ok "and that left nothing" nothing_left

# ---- attach, alone -------------------------------------------------------------------------------
out=$(loader attach edge0 --mode native)
like "attach, native" "exit $? $out" '^exit 0 edge0: attached, alone, mode native, program gs_xdp id'
is "mode native" "$(status edge0 .mode)" native
is "in the driver" "$(in_a ip -j link show dev edge0 | jq -r '.[0].xdp.mode')" 1
is "status names the program in force" "$(status edge0 .program.id)" "$(xdp_id edge0)"
is "held by a link" "$(status edge0 .holder)" link
is "which is pinned" "$(bpftool -j link show pinned "$PINS/link-edge0" | jq .id)" "$(status edge0 .link_id)"
is "all maps are pinned" "$(pinned)" "${MAPS/limits/limits link-edge0}"
meta=$(bpftool -j map lookup pinned "$PINS/meta" key 0 0 0 0)
is "meta: layout version" "$(jq .formatted.value.layout_version <<<"$meta")" "$LAYOUT"
is "meta: flow mask" "$(jq .formatted.value.flow_mask <<<"$meta")" 65535
seed=$(jq .formatted.value.table_seed <<<"$meta")
like "meta: a secret seed" "$seed" '^[1-9][0-9]{9}'
is "meta: no generation yet" "$(jq '[.formatted.value.generation[].number] | add' <<<"$meta")" 0

text=$(loader status edge0)
like "status: attached" "$text" $'^edge0: attached, alone\n'
like "status: mode" "$text" 'mode +native'
like "status: program and tag" "$text" 'program +gs_xdp +id [0-9]+ +tag [0-9a-f]{16}'
like "status: layout" "$text" "layout +version $LAYOUT"
like "status: generation" "$text" 'generation +none in force yet'
like "status: controller" "$text" 'controller +none yet'
like "status: pins" "$text" 'pinned +access4 .* usable_region'

like "a second attach is refused" "$(says attach edge0 --mode native)" "already attached, alone, mode native.*replace edge0"
like "in another mode too" "$(says attach edge0 --mode generic)" "already attached, alone, mode native"
like "with --force too" "$(says attach edge0 --mode native --force)" "already attached"
like "beside is the other kind" "$(says attach edge0 --mode native --beside)" "detach edge0' first"

# ---- replace under traffic: same link, same maps, no packet unseen -------------------------------
sum_of() { # REASON_INDEX
	bpftool -j map lookup pinned "$PINS/count_reason" key hex "$(printf '%02x' "$1")" 00 00 00 |
		jq '[.formatted.values[].value.packets] | add'
}
reason_index() { # NAME: its place in GS_REASONS
	awk -v name="$1" '/define GS_REASONS/ { on = 1; next }
		on && /^\tX\(/ { if ($0 ~ "X\\(" name ",") { print n; exit } n++ }' n=0 maps/gs_maps.h
}
send() { # COUNT: datagrams to nobody's service
	# shellcheck disable=SC2016 # that bash's variables
	in_b bash -c 'exec 9<>/dev/udp/10.99.0.1/9 && for ((i = 0; i < $0; i++)); do printf x >&9; done' "$1"
}
not_ours=$(reason_index pass_not_service)
link=$(status edge0 .link_id)
maps=$(for map in meta flows services plans; do map_id "$map"; done)
before=$(sum_of "$not_ours")
send 5000 &
sender=$!
replaced=0
while kill -0 "$sender" 2>/dev/null || ((replaced < 3)); do
	loader replace edge0 >/dev/null || break
	replaced=$((replaced + 1))
done
wait "$sender"
ok "replaced under traffic ($replaced times)" test "$replaced" -ge 3
all_counted() { (($(sum_of "$not_ours") - before == 5000)); }
ok "every packet of it was seen by a program" wait_for 10 all_counted
is "the link is the same" "$(status edge0 .link_id)" "$link"
is "the maps are the same" "$(for map in meta flows services plans; do map_id "$map"; done)" "$maps"
is "the seed is the same" "$(bpftool -j map lookup pinned "$PINS/meta" key 0 0 0 0 | jq .formatted.value.table_seed)" "$seed"
is "the pinned program is the one in force" "$(bpftool -j prog show pinned "$PINS/prog" | jq .id)" "$(xdp_id edge0)"
is "nothing else is pinned" "$(pinned)" "${MAPS/limits/limits link-edge0}"
old=$(xdp_id edge0)
like "replace by a broken object is refused" "$(says replace edge0 -o "$TAP_WORK/broken.o")" "no BPF object"
is "and the program in force stays" "$(xdp_id edge0)" "$old"

# ---- detach: maps stay ---------------------------------------------------------------------------
ok "detach" loader detach edge0
is "the interface is free" "$(xdp_id edge0)" 0
is "maps stay" "$(pinned)" "$MAPS"
like "status: free" "$(loader status edge0)" "not attached, no XDP program"
is "status, JSON: free" "$(status edge0 '[.attached, .holder, .layout_version] | tostring')" "[false,\"free\",$LAYOUT]"
ok "detach again is refused" test "$(says detach edge0)" != ""
out=$(loader attach edge0 --mode generic)
like "attach, generic" "$out" 'mode generic.*taken over from'
is "in the stack" "$(in_a ip -j link show dev edge0 | jq -r '.[0].xdp.mode')" 2
is "with the same maps" "$(for map in meta flows services plans; do map_id "$map"; done)" "$maps"
ok "counters went on" test "$(sum_of "$not_ours")" -ge 5000

# ---- two interfaces, one set of maps -------------------------------------------------------------
ok "a second interface" loader attach lo --mode generic
is "both links" "$(pinned | tr ' ' '\n' | grep -c '^link-')" 2
like "purge is refused while another forwards" "$(says detach edge0 --purge)" "interface lo forwards by the maps"
is "and nothing was detached" "$(status edge0 .attached)" true
ok "detach the second" loader detach lo
ip -n "$A" link set edge0 down
ip -n "$A" link set edge0 name wan0
is "a renamed interface is still ours" "$(status wan0 '[.attached, .holder] | tostring')" '[true,"link"]'
ok "and can be detached" loader detach wan0
ip -n "$A" link set wan0 name edge0
ip -n "$A" link set edge0 up

# ---- pinned maps of another kind -----------------------------------------------------------------
like "another size of the flow table is refused" "$(says attach edge0 --mode native --flows 1024)" \
	"flows: pinned with entries 65536, wanted 1024.*detach INTERFACE --purge"
like "another size of the NAT table, too" "$(says attach edge0 --mode native --nat-planes 8)" \
	"nat_flows: pinned with entries 15872, wanted 31744.*detach INTERFACE --purge"
raw=$(bpftool -j map lookup pinned "$PINS/meta" key 0 0 0 0 | jq -r '.value | join(" ")')
write_version() { # VERSION
	# shellcheck disable=SC2086 # bytes
	bpftool map update pinned "$PINS/meta" key 0 0 0 0 value $1 0 0 0 ${raw#* * * * }
}
write_version 99
like "another layout version is refused" "$(says attach edge0 --mode native)" \
	"$PINS holds maps of layout version 99, this program has $LAYOUT.*detach INTERFACE --purge --pin-dir $PINS"
is "the interface is free" "$(xdp_id edge0)" 0
is "the maps are as they were" "$(map_id meta)" "$(head -n 1 <<<"$maps")"
like "status tells it" "$(loader status edge0)" "version 99, not this program's"
is "status, JSON: no more than the version" "$(status edge0 '[.layout_version, .generation] | tostring')" '[99,null]'
write_version "$LAYOUT"
ok "of the right version again: attach" loader attach edge0 --mode native
write_version 99
like "replace refuses it too" "$(says replace edge0)" "layout version 99"
is "status still knows the link" "$(status edge0 .holder)" link
ok "detach --purge is the way out, as the message says" loader detach edge0 --purge
ok "it leaves nothing" nothing_left
ok "smaller tables" loader attach edge0 --mode native --flows 1024 --nat-planes 1
is "planes of NAT" "$(status edge0 .nat_planes)" 1
is "its mask" "$(bpftool -j map lookup pinned "$PINS/meta" key 0 0 0 0 | jq .formatted.value.flow_mask)" 1023
is "another secret" "$(($(bpftool -j map lookup pinned "$PINS/meta" key 0 0 0 0 | jq .formatted.value.table_seed) == seed))" 0
loader detach edge0 >/dev/null
ok "attach without sizes keeps them" loader attach edge0 --mode native
is "of flows" "$(bpftool -j map show pinned "$PINS/flows" | jq .max_entries)" 1024
is "of NAT's flows" "$(bpftool -j map show pinned "$PINS/nat_flows" | jq .max_entries)" 3968
is "of NAT's details" "$(bpftool -j map show pinned "$PINS/nat_details" | jq .max_entries)" 31744
loader detach edge0 >/dev/null

# ---- folders that somebody half filled -----------------------------------------------------------
rm "$PINS/rings"
like "a map is missing" "$(says attach edge0 --mode native)" "$PINS/rings is missing.*--purge"
ok "purge with nothing attached" loader detach edge0 --purge
loader attach edge0 --mode native >/dev/null
loader detach edge0 >/dev/null
rm "$PINS/meta"
cp_id=$(map_id plans)
ok "leftovers without meta do not stop a start" loader attach edge0 --mode native
is "they were replaced" "$(($(map_id plans) == cp_id))" 0
is "by a whole set" "$(pinned)" "${MAPS/limits/limits link-edge0}"
loader detach edge0 --purge >/dev/null
mkdir "$PINS"
ok "an empty folder" loader attach edge0 --mode native
loader detach edge0 --purge >/dev/null

killed=0
consistent=0
for ms in 002 005 008 011 014 017 020 025 030 035 040 050 060 070 080 100 120 150 200 300; do
	in_a timeout -s KILL "0.$ms" "$BUILD/geostream-loader" -p "$PINS" attach edge0 --mode native >/dev/null 2>&1
	(($? == 137)) && killed=$((killed + 1))
	[[ $(status edge0 .attached) == true ]] && loader detach edge0 >/dev/null
	loader attach edge0 --mode native >"$TAP_WORK/out" 2>&1 &&
		[[ $(pinned) == "${MAPS/limits/limits link-edge0}" ]] &&
		loader detach edge0 --purge >/dev/null && nothing_left && consistent=$((consistent + 1))
done
is "killed at any moment ($killed of 20), the next start works" "$consistent" 20

# A replace: what is in force stays in force, and every packet meets a program.
stream() { # FILE: datagrams until it is gone; prints how many
	# shellcheck disable=SC2016 # that bash's variables
	in_b bash -c 'exec 8<> <(:) 9<>/dev/udp/10.99.0.1/9 && while [[ -e $0 ]]; do
		printf x >&9 && n=$((n + 1)); read -r -t 0.0005 -u 8; done; echo "$n"' "$1"
}
kill_after() { # SECONDS COMMAND...
	in_a timeout -s KILL "$1" "$BUILD/geostream-loader" -p "$PINS" "${@:2}" >/dev/null 2>&1
	(($? == 137)) && killed=$((killed + 1))
}
whole() { [[ $(pinned) == "${MAPS/limits/limits link-edge0}" ]]; }
in_force() { # the pinned program is, and nothing else is pinned
	whole && [[ $(bpftool -j prog show pinned "$PINS/prog" | jq .id) == "$(xdp_id edge0)" ]]
}
loader attach edge0 --mode native >/dev/null
link=$(status edge0 .link_id)
before=$(sum_of "$not_ours")
touch "$TAP_WORK/streaming"
stream "$TAP_WORK/streaming" >"$TAP_WORK/sent" &
sender=$!
killed=0
attached=0
consistent=0
for ms in 002 005 010 015 020 025 030 040 050 060 070 080 090 100 120 140 160 180 200 250; do
	kill_after "0.$ms" replace edge0
	[[ $(status edge0 .link_id) == "$link" ]] && attached=$((attached + 1))
	loader replace edge0 >/dev/null && in_force && consistent=$((consistent + 1))
done
rm "$TAP_WORK/streaming"
wait "$sender"
ok "a replace was killed ($killed of 20)" test "$killed" -ge 5
is "killed at any moment of a replace, the link stays" "$attached" 20
is "and the next one leaves one program, one link, all maps" "$consistent" 20
sent=$(<"$TAP_WORK/sent")
all_counted() { (($(sum_of "$not_ours") - before == sent)); }
ok "there was traffic all the time ($sent packets)" test "$sent" -ge 100
ok "and every packet of it was seen by a program" wait_for 10 all_counted

killed=0
consistent=0
clean=0
purges=0
emptied=0
for ms in 001 002 003 004 005 006 007 008 010 012 014 016 018 020 025 030 040 050 070 100; do
	kill_after "0.$ms" detach edge0
	# what was killed may have been done, which the second is told
	loader detach edge0 >"$TAP_WORK/out" 2>&1 || grep -q 'not attached' "$TAP_WORK/out"
	[[ $(pinned) == "$MAPS" && $(xdp_id edge0) == 0 ]] && clean=$((clean + 1))
	loader attach edge0 --mode native >/dev/null && in_force && consistent=$((consistent + 1))
	kill_after "0.$ms" detach edge0 --purge
	if [[ $ms == *[05] ]]; then
		purges=$((purges + 1))
		loader detach edge0 --purge >/dev/null 2>&1
		nothing_left && emptied=$((emptied + 1))
	fi
	loader attach edge0 --mode native >/dev/null 2>&1 || status edge0 .holder | grep -q link
	in_force && consistent=$((consistent + 1))
done
ok "a detach was killed ($killed of 40)" test "$killed" -ge 5
is "killed at any moment of a detach, the next one leaves the maps and nothing else" "$clean" 20
is "killed at any moment of a purge, the next one leaves nothing" "$emptied" "$purges"
is "and the next attach works, after a purge too" "$consistent" 40
need "what a killed replace leaves" bpftool prog pin id "$(xdp_id edge0)" "$PINS/prog-new"
loader detach edge0 >/dev/null
is "a detach sweeps up after a replace that was killed" "$(pinned)" "$MAPS"
loader detach edge0 --purge >/dev/null
ok "and a purge leaves nothing" nothing_left

out=$(for _ in 1 2 3 4; do loader attach edge0 --mode native 2>&1 & done | sort; wait)
is "of four at once one attaches" "$(grep -c '^edge0: attached' <<<"$out")" 1
is "the others are told" "$(grep -c 'already attached' <<<"$out")" 3
loader detach edge0 --purge >/dev/null

# ---- the interface goes, and comes again ---------------------------------------------------------
ip -n "$A" link add gone0 type veth peer name gone1
ok "an interface that will go" loader attach gone0 --mode native
ip -n "$A" link del gone0
ip -n "$A" link add gone0 type veth peer name gone1
ok "its link does not stop the next of that name" loader attach gone0 --mode native
ip -n "$A" link del gone0
ok "it can be detached when it is gone" loader detach gone0
refuses "once" loader detach gone0
ok "purge" loader detach gone0 --purge
ok "and that is all" nothing_left

# ---- another's program ---------------------------------------------------------------------------
mkdir "$OTHER"
need "another's program" bpftool prog load "$BUILD/bpf/bystander.bpf.o" "$OTHER/prog"
other=$(bpftool -j prog show pinned "$OTHER/prog" | jq .id)
foreign() { # MODE: attaches it
	in_a bpftool net attach "$1" pinned "$OTHER/prog" dev edge0
}
foreign xdpdrv
is "another's program is attached" "$(xdp_id edge0)" "$other"
like "attach is refused and names it" "$(says attach edge0 --mode native)" \
	"another XDP program, 'bystander' \(id $other, tag [0-9a-f]{16}\), mode native: untouched"
is "it is still attached" "$(xdp_id edge0)" "$other"
like "in another mode too" "$(says attach edge0 --mode generic)" "untouched"
like "beside is no way round" "$(says attach edge0 --mode native --beside)" "attached alone: untouched"
like "detach is refused" "$(says detach edge0)" "another's, 'bystander' \(id $other"
like "replace is refused" "$(says replace edge0)" "another's, 'bystander'"
is "it is still attached after all that" "$(xdp_id edge0)" "$other"
like "status: foreign" "$(loader status edge0)" "another XDP program is.*bystander  id $other"
is "status, JSON: foreign" "$(status edge0 '[.attached, .holder, .program.id] | tostring')" "[false,\"foreign\",$other]"
ok "nothing is left" test ! -e "$PINS"
like "a --force that fails puts it back" "$(says attach edge0 --mode offload --force)" "offload"
is "it is attached again" "$(xdp_id edge0)" "$other"
in_a bpftool net attach xdpgeneric pinned "$OTHER/prog" dev lo
like "where native fails only after theirs was removed" "$(says attach lo --mode native --force)" \
	"no native XDP.*'bystander' \(id $other\) had been removed for that: it is attached again"
is "theirs is back" "$(xdp_id lo)" "$other"
in_a bpftool net detach xdpgeneric dev lo
out=$(loader attach edge0 --mode native --force)
like "--force says what it replaced" "$out" "^edge0: replaced 'bystander' \(id $other, tag [0-9a-f]{16}\), mode native"
is "ours is attached" "$(status edge0 .holder)" link
loader detach edge0 >/dev/null
foreign xdpgeneric
like "a generic one is refused as well" "$(says attach edge0 --mode native)" "mode generic: untouched"
ok "and forced" loader attach edge0 --mode native --force
is "native it is" "$(status edge0 '[.holder, .mode] | tostring')" '["link","native"]'
PINS_KEPT=$PINS
PINS=$PINS_KEPT-two
like "ours of another pin folder is another's" "$(says attach edge0 --mode native)" "another XDP program, 'gs_xdp'"
ok "and can be forced: a link of somebody else" loader attach edge0 --mode native --force
loader detach edge0 --purge >/dev/null
ok "that folder is gone" test ! -e "$PINS"
PINS=$PINS_KEPT
is "its first owner is told" "$(status edge0 .holder)" free
ok "and can attach again" loader attach edge0 --mode native
loader detach edge0 --purge >/dev/null

# ---- --force, and the same program on an interface of the same number in another namespace -------
# lo is number 1 everywhere. A link tells its interface's number, but not its namespace.
need "a program that makes links" gcc -Wall -Werror tests/e2e/xdp_link.c -lbpf -o "$TAP_WORK/xdp_link"
xdp_of() { "in_$1" ip -j link show dev lo | jq -r '.[0].xdp.prog.id // 0'; } # a|b
link_on() { "in_$1" "$TAP_WORK/xdp_link" "$OTHER/prog" lo "$OTHER/link-$1"; }
force_on_lo() { loader attach lo --mode generic --force 2>&1; }
need "the other namespace's link" link_on b
in_a bpftool net attach xdpgeneric pinned "$OTHER/prog" dev lo
like "force: here without a link, there with one" "$(force_on_lo)" "replaced 'bystander'.*attached, alone"
is "force: ours is here" "$(status lo .holder)" link
is "force: theirs is still there" "$(xdp_of b)" "$other"
loader detach lo --purge >/dev/null

link_a=$(link_on a)
link_b=$(bpftool -j link show pinned "$OTHER/link-b" | jq .id)
like "force: both with a link: refused, naming the links and the way out" "exit 1 $(force_on_lo)" \
	"cannot remove 'bystander'.*links ($link_b and $link_a|$link_a and $link_b);.*bpftool link detach"
is "force: here it is as it was" "$(xdp_of a)" "$other"
is "force: there too" "$(xdp_of b)" "$other"
ok "force: nothing is left of that" test ! -e "$PINS"
need "the way out" bpftool link detach id "$link_a"
is "force: it was the right one" "$(xdp_of a) $(xdp_of b)" "0 $other"
bpftool link detach pinned "$OTHER/link-b"
rm "$OTHER/link-a" "$OTHER/link-b"

link_on a >/dev/null
in_b bpftool net attach xdpgeneric pinned "$OTHER/prog" dev lo
like "force: here with a link, there without" "$(force_on_lo)" "replaced 'bystander'.*attached, alone"
is "force: theirs is still there, once more" "$(xdp_of b)" "$other"
in_b bpftool net detach xdpgeneric dev lo
loader detach lo --purge >/dev/null

# ---- beside others, where the kernel refuses it (20-dispatcher-6.1.sh has one that does not) -----
freplace_works() { in_a "$BUILD/geostream-loader" attach edge0 --mode native --beside -p "$PINS" >"$TAP_WORK/beside" 2>&1; }
if freplace_works; then
	is "beside: by libxdp's dispatcher" "$(status edge0 .holder)" dispatcher
	ok "beside: nothing but a dispatcher will do" test "$(says attach edge0 --mode native)" != ""
	ok "beside: detach" loader detach edge0 --purge
else
	like "beside: refused, clearly" "$(<"$TAP_WORK/beside")" "this kernel refuses libxdp's dispatcher"
	is "beside: one line" "$(wc -l <"$TAP_WORK/beside")" 1
	is "beside: libxdp's lone program was taken off again" "$(xdp_id edge0)" 0
fi
ok "nothing is left at the end" nothing_left

done_testing

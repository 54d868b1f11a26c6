#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `make run IFACE=... CONFIG=... MODE=...`, with the lab's uplink in the part of the machine's NIC.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t36
at_exit rm -rf "$LAB_DIR/nic"
at_exit tests/db/cluster.sh destroy "$LAB_DIR/nic/db"
export NIC_DIR=$LAB_DIR/nic NIC_SOCKET=$LAB_SOCKET PIN_DIR=$LAB_PIN IFACE=$LAB_UPLINK CONFIG=tests/lab/lab.json

# Background jobs of a script ignore SIGINT; this one must hear its Ctrl-C.
nic() { # VARIABLE=VALUE...
	lab_in edge env "$@" tests/lab/nic.sh
}
nic_start() {
	nsenter --net="$(lab_path edge)" env --default-signal=INT MODE=native setsid tests/lab/nic.sh \
		>"$LAB_DIR/nic.log" 2>&1 </dev/null &
	NIC=$!
}
nic_end() {
	kill -INT -- "-$NIC"
	wait "$NIC"
}
said() {
	grep -q "$1" "$LAB_DIR/nic.log"
}

need "the network" lab_network_up
refuses "no such interface" nic IFACE=gs-none MODE=native
refuses "no mode named" nic MODE=
refuses "a mode that is none" nic MODE=fastest
refuses "no configuration" nic MODE=native CONFIG=
refuses "a configuration that is not there" nic MODE=native CONFIG=tests/lab/absent.json
ok "nothing was attached by any of them" test ! -e "$LAB_PIN"

nic_start
ok "clients are served by their regions" lab_wait 60 lab_everyone_home "${LAB_CLIENTS[@]}"
ok "Ctrl-C ends it" nic_end
ok "it says how to go on" said 'loader detach gs-uplink'
ok "the data plane forwards on" lab_everyone_home "${LAB_CLIENTS[@]}"
nic_start
ok "again: the program is replaced" lab_wait 60 said 'geostreamd; Ctrl-C'
ok "and clients are served" lab_wait 60 lab_everyone_home "${LAB_CLIENTS[@]}"
ok "Ctrl-C ends it again" nic_end
ok "detach" lab_loader detach "$LAB_UPLINK" --purge --pin-dir "$LAB_PIN"
diag <"$LAB_DIR/nic.log"

done_testing

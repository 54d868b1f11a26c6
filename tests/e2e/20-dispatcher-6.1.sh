#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Debian 12's own kernel, 6.1, under qemu: the verifier takes the packet path, and libxdp's
# dispatcher runs it beside another program. tests/e2e/vm/init is what runs inside.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh
# shellcheck source=tests/e2e/vm/boot.sh
. tests/e2e/vm/boot.sh

console=$TAP_WORK/console
need "Debian's kernel 6.1 (cloud)" vm_kernel '^linux-image-6\.1\.0-[0-9]+-cloud-amd64$'
need "an image" vm_image "$TAP_WORK/image"
ok "the machine boots and switches itself off within $VM_BOUND s" vm_run "$TAP_WORK/image" "$console"

# its lines, counted on behind ours
inside=$(tr -d '\r' <"$console" | sed -n '/=== TAP begins/,/=== TAP ends/p')
like "on the kernel wanted" "${inside%%$'\n'*}" 'on 6\.1\.0-[0-9]+-cloud-amd64$'
planned=0
seen=0
while IFS= read -r line; do
	case $line in
	"ok "*) seen=$((seen + 1)) && pass "${line#ok * - }" ;;
	"not ok "*) seen=$((seen + 1)) && fail "${line#not ok * - }" ;;
	1..*) planned=${line#1..} ;;
	\#*) printf '%s\n' "$line" ;;
	esac
done <<<"$inside"
is "all of its tests ran" "$seen of $planned" "$seen of $seen"
if ((seen == 0 || seen != planned)); then
	tail -n 40 "$console" | tr -d '\r' | diag
fi
ok "and there were some" test "$seen" -gt 0

done_testing

# SPDX-License-Identifier: Apache-2.0
#
# Tables of docs/scaling.md between its marks, from rows of bench.json; after json.awk:
#	awk -f json.awk -f scaling.awk bench.json scaling.md
#
# Cores are packets a second times nanoseconds a packet, nothing else: what a NIC's driver takes is not known here.

# Frames a second at a line rate: 20 bytes of preamble and gap besides the frame.
function frames(gigabits, bytes) {
	return gigabits * 1e9 / 8 / (bytes + 20)
}

function cost(family, flows, new_share) {
	return ns["established", family, flows] * (1 - new_share) + ns["new", family, flows] * new_share
}

function print_cores(gigabits, size, name, family, flows, line) {
	for (gigabits = 10; gigabits <= 100; gigabits = gigabits == 10 ? 25 : gigabits * 4)
		for (size = 1; size <= 2; size++) {
			name = size == 1 ? "64 bytes" : "mixed"
			line = "| " gigabits " | " name " | " commas(frames(gigabits, bytes[size]))
			for (flows = 1024; flows <= 1048576; flows *= 1024)
				for (family = 4; family <= 6; family += 2)
					line = line sprintf(" | %.1f", frames(gigabits, bytes[size]) * cost(family, flows, 0.01) / 1e9)
			for (family = 4; family <= 6; family += 2)
				line = line sprintf(" | %.1f", frames(gigabits, bytes[size]) * ns["new", family, 1048576] / 1e9)
			print line " |"
		}
}

function print_costs(variant, flows) {
	for (variant = 1; variant <= 2; variant++)
		for (flows = 1024; flows <= 1048576; flows *= 1024)
			printf("| %s | %s | %.0f | %.0f |\n", names[variant], commas(flows), \
				ns[names[variant], 4, flows], ns[names[variant], 6, flows])
}

BEGIN {
	bytes[1] = 64
	bytes[2] = (7 * 64 + 4 * 594 + 1518) / 12
	names[1] = "established"
	names[2] = "new"
}

FILENAME ~ /\.json$/ {
	variant = field($0, "variant")
	family = field($0, "family")
	if (field($0, "bench") == "xdp" && (variant == "established" || variant == "new") &&
		field($0, "prefixes") + 0 >= most[family]) {
		most[family] = field($0, "prefixes") + 0
		ns[variant, family, field($0, "flows") + 0] = field($0, "net_ns")
	}
	next
}

skipping && /^<!-- \/scale -->$/ { skipping = 0 }
skipping { next }
{ print }
/^<!-- scale:costs -->$/ {
	print "| packets | flows | IPv4, ns | IPv6, ns |\n|---|---|---|---|"
	print_costs()
	skipping = 1
}
/^<!-- scale:cores -->$/ {
	print "| Gbit/s | frames | a second | 1,024 flows, IPv4 | IPv6 | 1,048,576 flows, IPv4 | IPv6 | only new flows, IPv4 | IPv6 |"
	print "|---|---|---|---|---|---|---|---|---|"
	print_cores()
	skipping = 1
}

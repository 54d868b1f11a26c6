# SPDX-License-Identifier: Apache-2.0
#
# docs/benchmarks.md from bench.json: what stands between <!-- bench:NAME --> and <!-- /bench --> is written
# anew, what is around it stays. A table none of whose rows were measured stays as it was.
#	awk -f json.awk -f docs.awk goals bench.json benchmarks.md

FNR == 1 { file++ }
file == 1 { take_goal($0); next }
file == 2 { rows[++row_count] = $0; next }
/^<!-- bench:/ {
	print
	name = $2
	sub(/^bench:/, "", name)
	table = make(name)
	if (table == "") {
		printf "%s: nothing of it in this run: it stays as it was\n", name | "cat >&2"
		next
	}
	printf "%s", table
	skipping = 1
	next
}
/^<!-- \/bench -->/ { skipping = 0 }
!skipping { print }

# ---- rows -----------------------------------------------------------------------------------------

# All conditions of "field=value field!=value".
function fits(line, want,    i, count, parts, at, name, differs) {
	count = split(want, parts, " ")
	for (i = 1; i <= count; i++) {
		at = index(parts[i], "=")
		name = substr(parts[i], 1, at - 1)
		differs = sub(/!$/, "", name)
		if ((field(line, name) == substr(parts[i], at + 1)) == differs)
			return 0
	}
	return 1
}

# The row; of several that differ in prefixes the one with most of them, and of those the last.
function find(want,    i, found) {
	for (i = 1; i <= row_count; i++)
		if (fits(rows[i], want) && (found == "" || field(rows[i], "prefixes") + 0 >= field(found, "prefixes") + 0))
			found = rows[i]
	return found
}

function spread(line) {
	return field(line, "rounds") > 1 ? " (" short(field(line, "low")) " .. " short(field(line, "high")) ")" : ""
}

function figure(want, name,    line) {
	line = find(want)
	return line == "" ? "-" : short(field(line, name == "" ? unit(line) : name)) (name == "" ? spread(line) : "")
}

# Values of a field among rows that fit, in order of appearance; how many.
function values(want, name, ret,    i, value, seen, count) {
	for (i = 1; i <= row_count; i++) {
		value = field(rows[i], name)
		if (fits(rows[i], want) && !(value in seen)) {
			seen[value] = 1
			ret[++count] = value
		}
	}
	return count + 0
}

# ---- tables ---------------------------------------------------------------------------------------

function make(name) {
	if (name == "machine")
		return make_machine()
	if (name == "goals")
		return make_goals()
	if (name == "flows")
		return make_flows()
	if (name == "locations")
		return make_locations()
	if (name == "modes")
		return make_modes()
	if (name == "floods")
		return make_floods()
	if (name == "loading")
		return make_loading()
	if (name == "memory")
		return make_memory()
	if (name == "controller")
		return make_controller()
	if (name == "verifier")
		return make_verifier()
	if (name == "rest")
		return make_rest()
	if (name == "failover")
		return make_failover()
	printf "no table is called %s\n", name | "cat >&2"
	return ""
}

function make_machine(    line, packets) {
	line = find("bench=machine")
	packets = find("bench=xdp variant=established")
	if (line == "")
		return ""
	return field(line, "cpu") ", " field(line, "cores") " cores, " short(field(line, "memory_bytes") / 1e9) " GB, kernel " \
		field(line, "kernel") "; the program of commit " field(line, "commit") ", " field(line, "date") ". " \
		(packets == "" ? "" : field(packets, "rounds") " interleaved rounds of " commas(field(packets, "packets")) \
		" packets a row; the driver alone took " short(field(packets, "baseline_ns")) " ns.") " Every row: [bench.json](bench.json).\n"
}

function make_flows(    geos, i, count, text) {
	count = values("bench=xdp", "geo", geos)
	if (count)
		text = "![Cost of a packet by flows](bench-flows.svg)\n\n"
	for (i = 1; i <= count; i++)
		text = text (i > 1 ? "\n" : "") flows_of(geos[i])
	return text
}

function flows_of(geo,    flows, i, count, family, at, text) {
	count = values("bench=xdp geo=" geo, "flows", flows)
	text = geo ", " commas(field(find("bench=xdp family=4 geo=" geo), "prefixes")) " IPv4 and " \
		commas(field(find("bench=xdp family=6 geo=" geo), "prefixes")) " IPv6 prefixes:\n\n" \
		"| flows | IPv | XDP_TX | floor | established | x | classical | new | x | classical | met their flow |\n" \
		"|---|---|---|---|---|---|---|---|---|---|---|\n"
	for (i = 1; i <= count; i++)
		for (family = 4; family <= 6; family += 2) {
			at = "bench=xdp geo=" geo " family=" family " flows=" flows[i] " variant="
			if (find(at "new") == "")
				continue
			text = text "| " commas(flows[i]) " | " family " | " figure(at "xdp_tx", "net_ns") " | " \
				figure(at "floor") " | " figure(at "established") " | " figure(at "established", "ratio") " | " \
				figure(at "classical_established") " | " figure(at "new") " | " figure(at "new", "ratio") " | " \
				figure(at "classical_new") " | " \
				sprintf("%.2f %%", field(find(at "established"), "share") * 100) " |\n"
		}
	return text
}

function make_locations(    prefixes, addresses, i, j, count, counts, family, at, text) {
	counts = values("bench=geo_lookup variant=table", "addresses", addresses)
	if (!counts)
		return ""
	text = "![Cost of locating a client by prefixes](bench-prefixes.svg)\n\n" \
		"| IPv | prefixes | clients | our table | LPM trie | x |\n|---|---|---|---|---|---|\n"
	for (family = 4; family <= 6; family += 2) {
		split("", prefixes)
		count = values("bench=geo_lookup variant=table family=" family, "prefixes", prefixes)
		for (i = 1; i <= count; i++)
			for (j = 1; j <= counts; j++) {
				at = "bench=geo_lookup family=" family " prefixes=" prefixes[i] " addresses=" addresses[j] " variant="
				text = text "| " family " | " commas(prefixes[i]) " | " commas(addresses[j]) " | " \
					figure(at "table") " | " figure(at "lpm_trie") " | " figure(at "table", "ratio") " |\n"
			}
	}
	return text
}

function make_modes(    variants, i, count, family, at, text) {
	count = values("bench=mode", "variant", variants)
	if (!count)
		return ""
	text = "| row | IPv4 ns | x | IPv6 ns | x |\n|---|---|---|---|---|\n"
	for (i = 1; i <= count; i++) {
		text = text "| " variants[i]
		for (family = 4; family <= 6; family += 2) {
			at = "bench=mode variant=" variants[i] " family=" family
			text = text " | " figure(at) " | " (field(find(at), "ratio") == "" ? "" : figure(at, "ratio"))
		}
		text = text " |\n"
	}
	return text
}

function make_floods(    i, count, kinds, limited, tail, text, kind_names) {
	if (find("bench=flood") == "")
		return ""
	count = split("syn ack udp", kinds, " ")
	split("SYNs|random ACKs|UDP", kind_names, "|")
	text = "| flood of | limits | a packet of its own | x | established, no flood | established beside it | x | still known afterwards |\n" \
		"|---|---|---|---|---|---|---|---|\n"
	for (i = 1; i <= count; i++)
		for (limited = 0; limited < 2; limited++) {
			tail = kinds[i] (limited ? "_limited" : "")
			text = text "| " kind_names[i] " | " (limited ? "clients and service" : "none") " | " \
				figure("bench=flood variant=flood_" tail) " | " figure("bench=flood variant=flood_" tail, "ratio") " | " \
				figure("bench=flood variant=established_" tail) " | " \
				figure("bench=flood variant=beside_" tail) " | " figure("bench=flood variant=beside_" tail, "ratio") " | " \
				sprintf("%.2f %%", field(find("bench=flood variant=beside_" tail), "known") * 100) " |\n"
		}
	return text
}

function make_loading(    geos, i, count, line, at, text, names, variants) {
	count = values("bench=geo_load", "geo", geos)
	if (!count)
		return ""
	text = "| what | ms | |\n|---|---|---|\n"
	for (i = 1; i <= count; i++) {
		line = find("bench=geo_load geo=" geos[i])
		text = text "| " geos[i] ", file opened to tables | " figure("bench=geo_load geo=" geos[i]) " | " \
			commas(field(line, "networks")) " networks, " commas(field(line, "prefixes")) " prefixes, " \
			commas(field(line, "locations")) " locations; tables " megabytes(field(line, "table_bytes")) \
			" MB, process at most " megabytes(field(line, "peak_bytes")) " MB |\n"
	}
	split("publish_all publish_geo publish_config publish_same", variants, " ")
	split("published into empty maps|another GeoIP database put into force|another configuration, the same database|what is in force already", names, "|")
	count = values("bench=publish", "geo", geos)
	for (i = 1; i <= count; i++)
		for (at = 1; at <= 4; at++)
			text = text "| " geos[i] ", " names[at] " | " \
				figure("bench=publish geo=" geos[i] " variant=" variants[at]) " | |\n"
	count = split("table_build table_upload table_free lpm_trie_fill lpm_trie_free", variants, " ")
	split("geo table made from prefixes|geo table into a map|geo table freed|LPM trie filled|LPM trie freed", names, "|")
	for (at = 4; at <= 6; at += 2)
		for (i = 1; i <= count; i++) {
			line = find("bench=geo_tables family=" at " variant=" variants[i])
			if (line != "")
				text = text "| " names[i] ", IPv" at " | " short(field(line, "ms")) " | " \
					commas(field(line, "prefixes")) " prefixes |\n"
		}
	return text
}

function make_memory(    i, j, n, order, family, line, text) {
	for (family = 4; family <= 6; family += 2) {
		line = find("bench=geo_tables variant=table_bytes family=" family)
		if (line == "")
			continue
		text = text "| geo table, IPv" family ", " commas(field(line, "prefixes")) " prefixes | " megabytes(field(line, "bytes")) " | " \
			short(field(line, "bytes_per_prefix")) " |\n"
		line = find("bench=geo_tables variant=lpm_trie_bytes family=" family)
		text = text "| LPM trie of the same, entries alone | " megabytes(field(line, "bytes")) " | " \
			short(field(line, "bytes_per_prefix")) " |\n"
	}
	# Maps of the edge, the largest first; what is below a megabyte is in the sum.
	for (i = 1; i <= row_count; i++)
		if (fits(rows[i], "bench=memory") && field(rows[i], "bytes") + 0 >= 1e6 && \
		    find("bench=memory variant=" field(rows[i], "variant")) == rows[i]) {
			order[++n] = rows[i]
			for (j = n; j > 1 && field(order[j], "bytes") + 0 > field(order[j - 1], "bytes") + 0; j--) {
				line = order[j]
				order[j] = order[j - 1]
				order[j - 1] = line
			}
		}
	for (i = 1; i <= n; i++)
		text = text "| `" field(order[i], "variant") "` | " megabytes(field(order[i], "bytes")) " | |\n"
	return text == "" ? "" : "| what | MB | bytes a prefix |\n|---|---|---|\n" text
}

function make_controller(    variants, names, i, count, text) {
	count = values("bench=maglev", "variant", variants)
	for (i = 1; i <= count; i++)
		text = text "| Maglev ring, " commas(field(find("bench=maglev variant=" variants[i]), "backends")) " backends, " \
			commas(field(find("bench=maglev variant=" variants[i]), "slots")) " slots | " \
			figure("bench=maglev variant=" variants[i]) " ms |\n"
	if (find("bench=planner") != "")
		text = text "| planner: " field(find("bench=planner"), "policies") " policies x " \
			commas(field(find("bench=planner"), "locations")) " locations x " field(find("bench=planner"), "regions") \
			" regions ranked anew, " commas(field(find("bench=planner variant=rank_and_intern"), "plans")) " plans | " \
			figure("bench=planner variant=rank_and_intern") " ms |\n" \
			"| all tables of the same, " commas(field(find("bench=planner variant=whole_tables"), "ring_slots")) " ring slots | " \
			figure("bench=planner variant=whole_tables") " ms |\n"
	count = split("tcp http", variants, " ")
	split("TCP|HTTP, each on a connection of its own", names, "|")
	for (i = 1; i <= count; i++)
		if (find("bench=probes variant=" variants[i]) != "")
			text = text "| 2,000 backends probed every 500 ms, " names[i] " | " \
				figure("bench=probes variant=" variants[i], "core_percent") " % of a core, the loop late by " \
				figure("bench=probes variant=" variants[i], "lag_ms") " ms at most |\n"
	count = split("usable_region usable_pool usable_backend route_rows", variants, " ")
	split("words of regions written|words of pools written|words of backends written|rows of routes written", names, "|")
	for (i = 1; i <= count; i++)
		if (find("bench=map_update variant=" variants[i]) != "")
			text = text "| " names[i] (i == 4 ? ", " commas(field(find("bench=map_update variant=" variants[i]), "locations")) " locations each" : "") \
				" | " figure("bench=map_update variant=" variants[i]) " a second |\n"
	return text == "" ? "" : "| what | figure |\n|---|---|\n" text
}

function make_verifier(    variants, i, count, text) {
	count = values("bench=verifier", "variant", variants)
	for (i = 1; i <= count; i++)
		text = text "| `" variants[i] "` | " figure("bench=verifier variant=" variants[i], "instructions") " | " \
			figure("bench=verifier variant=" variants[i], "insns") " |\n"
	return text == "" ? "" : "| program | instructions gone through (limit 1,000,000) | of its own |\n|---|---|---|\n" text
}

function make_rest(    variants, names, i, at, text) {
	split("nginx geostream", variants, " ")
	split("nginx, a constant|geostreamd, a decision", names, "|")
	for (i = 1; i <= 2; i++) {
		at = "bench=rest variant=" variants[i]
		if (find(at) != "")
			text = text "| " names[i] " | " figure(at, "per_s") " | " figure(at, "low") " .. " figure(at, "high") " | " \
				figure(at, "p50_ms") " | " figure(at, "p99_ms") " | " figure(at, "ratio") " |\n"
	}
	return text == "" ? "" : "| who answers | requests/s | low .. high | P50 ms | P99 ms | x |\n|---|---|---|---|---|---|\n" text
}

function make_failover(    variants, names, i, at, text) {
	split("reset blackhole", variants, " ")
	split("reset|black hole", names, "|")
	for (i = 1; i <= 2; i++) {
		at = "bench=failover variant=" variants[i]
		if (find(at) != "")
			text = text "| " names[i] " | " figure(at, "rounds") " | " figure(at, "clients") " | " figure(at, "ms") " | " \
				figure(at, "p99_ms") " | " figure(at, "high") " | " figure(at, "last_flow_p99_ms") " |\n"
	}
	return text == "" ? "" : "| how | regions killed | flows | median ms | P99 | longest | last new flow there, P99 |\n|---|---|---|---|---|---|---|\n" text
}

# ---- goals ----------------------------------------------------------------------------------------

function take_goal(line,    parts, i, count) {
	if (line ~ /^#/ || line !~ /\|/)
		return
	count = split(line, parts, / *\| */)
	goal_count++
	for (i = 1; i <= count; i++)
		goal[goal_count, i] = parts[i]
}

# "": not measured.
function goal_figure(n,    sets, i, count, name, line, sum, how) {
	name = goal[n, 3]
	if (name ~ /:/) {
		how = substr(name, 1, index(name, ":") - 1)
		return extreme(goal[n, 2], substr(name, index(name, ":") + 1), how)
	}
	count = split(goal[n, 2], sets, / \+ /)
	for (i = 1; i <= count; i++) {
		line = find(sets[i])
		if (line == "" || field(line, name) == "")
			return ""
		sum += field(line, name)
	}
	return sum
}

function extreme(want, name, how,    i, value, found) {
	found = ""
	for (i = 1; i <= row_count; i++) {
		value = field(rows[i], name)
		if (value == "" || !fits(rows[i], want))
			continue
		if (found == "" || (how == "worst" ? value + 0 > found : value + 0 < found))
			found = value + 0
	}
	return found
}

function with_unit(value, kind) {
	if (kind == "bytes")
		return megabytes(value) " MB"
	if (kind == "share")
		return sprintf("%.2f %%", value * 100)
	if (kind == "x")
		return sprintf("%.3f", value) " x"
	return short(value) " " kind
}

function make_goals(    n, value, peer, limit, at_most, judged, text, goal_text, met) {
	text = "| what | goal | figure | the peer's | ratio | met |\n|---|---|---|---|---|---|\n"
	for (n = 1; n <= goal_count; n++) {
		value = goal_figure(n)
		peer = goal[n, 4]
		at_most = goal[n, 5] ~ /^<=/
		limit = substr(goal[n, 5], 4) + 0
		goal_text = (at_most ? "at most " : "at least ") (peer == "-" ? with_unit(limit, goal[n, 6]) : limit " x the peer")
		judged = peer == "-" ? value : value / peer
		met = value == "" ? "not measured" : (at_most ? judged <= limit : judged >= limit) ? "yes" : "**no**"
		text = text "| " goal[n, 1] " | " goal_text " | " (value == "" ? "-" : with_unit(value, goal[n, 6])) " | " \
			(peer == "-" ? "" : commas(peer) " ns") " | " (peer == "-" || value == "" ? "" : sprintf("%.2f", judged)) " | " met " |\n"
	}
	return text
}

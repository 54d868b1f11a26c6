# SPDX-License-Identifier: Apache-2.0
#
# A plot of bench.json as SVG, both axes logarithmic, IPv4 and IPv6 side by side:
#	awk -v what=flows -f json.awk -f plot.awk bench.json > bench-flows.svg
# what: flows (ns of a packet, by flows) or prefixes (ns of a look-up, by prefixes of the table).
# Readable on light and on dark grounds, and without telling colours apart: dashes and names do, too.

BEGIN {
	WIDTH = 940; HEIGHT = 440
	LEFT = 64; TOP = 56; PLOT = 268; GAP = 178; FLOOR = 372
	if (what == "flows") {
		title = "Cost of a packet by flows"
		across = "flows (logarithmic)"
		up = "ns a packet, net of the driver (logarithmic)"
		split("classical_new new classical_established established floor", lines, " ")
		split("new, classical|new|established, classical|established|parse, encapsulate", names, "|")
		split("new new known known least", colours, " ")
		split("dash solid dash solid dots", dashes, " ")
		low_x = 1; high_x = 1048576
	} else {
		title = "Cost of locating a client by prefixes in the table"
		across = "prefixes (logarithmic)"
		up = "ns a look-up, net of the loop (logarithmic)"
		split("lpm_trie/1048576 lpm_trie/1024 table/1048576 table/1024", lines, " ")
		split("LPM trie, 1 M clients|LPM trie, 1,024|our table, 1 M clients|our table, 1,024", names, "|")
		split("new known new known", colours, " ")
		split("dash dash solid solid", dashes, " ")
		low_x = 1000; high_x = 10000
	}
	for (count = 0; (count + 1) in lines; count++)
		index_of[lines[count + 1]] = count + 1
	low_y = 10; high_y = 1000
}

field($0, "bench") == (what == "flows" ? "xdp" : "geo_lookup") {
	name = field($0, "variant")
	if (what != "flows")
		name = name "/" field($0, "addresses")
	if (!(name in index_of))
		next
	family = field($0, "family") + 0
	prefixes = field($0, "prefixes") + 0
	# Of several tables the largest; what came from smaller ones is forgotten.
	if (what == "flows" && prefixes > table[family]) {
		table[family] = prefixes
		for (i = 1; i <= count; i++)
			points[family, i] = 0
	}
	if (what == "flows" && prefixes < table[family])
		next
	x = what == "flows" ? field($0, "flows") + 0 : prefixes
	y = field($0, "net_ns") + 0
	if (y < 1)
		y = 1
	take(family, index_of[name], x, y, field($0, "low") + 0, field($0, "high") + 0)
}

function take(family, line, x, y, low, high,    n, i) {
	n = points[family, line]
	for (i = 1; i <= n; i++) # measured again, with another table or twice: the last one counts
		if (at_x[family, line, i] == x)
			break
	if (i > n)
		points[family, line] = i
	at_x[family, line, i] = x
	at_y[family, line, i] = y
	at_low[family, line, i] = low < 1 ? 1 : low
	at_high[family, line, i] = high < 1 ? 1 : high
	while (x > high_x)
		high_x *= 10
	while (x < low_x * 0.9)
		low_x /= 10
	while (high > high_y)
		high_y *= 10
	while (y < low_y)
		low_y /= 10
}

function log10(value) { return log(value) / log(10) }

function place_x(x) { return left + PLOT * (log(x) - log(low_x)) / (log(high_x) - log(low_x)) }

function place_y(y) { return FLOOR - (FLOOR - TOP) * (log(y) - log(low_y)) / (log(high_y) - log(low_y)) }

function text(x, y, class, anchor, what) {
	printf "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n", x, y, class, anchor, what
}

function rule(x1, y1, x2, y2, class) {
	printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class
}

function tick_text(value) {
	if (what == "flows")
		return commas(value)
	return value >= 1e6 ? value / 1e6 " M" : value >= 1000 ? value / 1000 " k" : value
}

function draw_axes(family,    value, mid) {
	mid = left + PLOT / 2
	text(mid, TOP - 10, "head", "middle", "IPv" family (table[family] ? ", " commas(table[family]) " prefixes" : ""))
	for (value = low_y; value <= high_y * 1.001; value *= 10) {
		rule(left, place_y(value), left + PLOT, place_y(value), "grid")
		text(left - 8, place_y(value) + 4, "tick", "end", commas(value))
	}
	if (what == "flows")
		for (value = 1; value <= 4; value++)
			tick(value == 1 ? 1 : value == 2 ? 1024 : value == 3 ? 65536 : 1048576)
	else
		for (value = low_x; value <= high_x * 1.001; value *= 10)
			tick(value)
	rule(left, FLOOR, left + PLOT, FLOOR, "axis")
	rule(left, TOP, left, FLOOR, "axis")
	text(mid, FLOOR + 40, "label", "middle", across)
}

function tick(value) {
	rule(place_x(value), FLOOR, place_x(value), FLOOR + 5, "axis")
	text(place_x(value), FLOOR + 19, "tick", "middle", tick_text(value))
}

# By x, ascending: files may say them in any order.
function sort_line(family, line,    i, j) {
	for (i = 2; i <= points[family, line]; i++)
		for (j = i; j > 1 && at_x[family, line, j] < at_x[family, line, j - 1]; j--) {
			swap(at_x, family SUBSEP line SUBSEP j, family SUBSEP line SUBSEP (j - 1))
			swap(at_y, family SUBSEP line SUBSEP j, family SUBSEP line SUBSEP (j - 1))
			swap(at_low, family SUBSEP line SUBSEP j, family SUBSEP line SUBSEP (j - 1))
			swap(at_high, family SUBSEP line SUBSEP j, family SUBSEP line SUBSEP (j - 1))
		}
}

function swap(array, a, b,    kept) {
	kept = array[a]
	array[a] = array[b]
	array[b] = kept
}

function draw_line(family, line,    i, path, n) {
	n = points[family, line]
	sort_line(family, line)
	for (i = 1; i <= n; i++)
		path = path sprintf("%s%.1f,%.1f", i > 1 ? " " : "", place_x(at_x[family, line, i]),
			place_y(at_y[family, line, i]))
	printf "<polyline points=\"%s\" class=\"line %s %s\"/>\n", path, colours[line], dashes[line]
	for (i = 1; i <= n; i++) {
		rule(place_x(at_x[family, line, i]), place_y(at_low[family, line, i]), place_x(at_x[family, line, i]),
			place_y(at_high[family, line, i]), "spread " colours[line])
		printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" class=\"dot %s\"><title>%s: %s ns</title></circle>\n",
			place_x(at_x[family, line, i]), place_y(at_y[family, line, i]), colours[line],
			names[line] ", " commas(at_x[family, line, i]), short(at_y[family, line, i])
	}
}

# Names at the lines' ends, from the highest to the lowest, none on another.
function draw_names(family,    i, j, n, order, y, last) {
	n = 0
	for (i = 1; i <= count; i++)
		if (points[family, i]) {
			order[++n] = i
			for (j = n; j > 1 && end_of(family, order[j]) > end_of(family, order[j - 1]); j--)
				swap(order, j, j - 1)
		}
	last = -100
	for (i = 1; i <= n; i++) {
		y = place_y(end_of(family, order[i])) + 4
		if (y < last + 15)
			y = last + 15
		text(place_x(at_x[family, order[i], points[family, order[i]]]) + 9, y, "name " colours[order[i]] "-name", "start",
			names[order[i]])
		last = y
	}
}

function end_of(family, line) { return at_y[family, line, points[family, line]] }

END {
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"system-ui, sans-serif\" role=\"img\">\n",
		WIDTH, HEIGHT
	printf "<title>%s</title>\n", title
	print "<style>"
	print "text { font-size: 12px; fill: #24292f } .head { font-size: 13px; font-weight: 600 } .title { font-size: 15px; font-weight: 600 }"
	print ".tick { fill: #57606a; font-size: 11px } .label { fill: #57606a }"
	print ".axis { stroke: #57606a } .grid { stroke: #d0d7de; stroke-width: .7 }"
	print ".line { fill: none; stroke-width: 2 } .dash { stroke-dasharray: 7 4 } .dots { stroke-dasharray: 2 4 }"
	print ".new { stroke: #bc4c00 } .known { stroke: #0969da } .least { stroke: #57606a } .spread { stroke-width: 1; opacity: .6 }"
	print ".new-name { fill: #bc4c00 } .known-name { fill: #0969da } .least-name { fill: #57606a }"
	print ".dot { fill: #fff; stroke-width: 1.6 }"
	print "@media (prefers-color-scheme: dark) {"
	print "text { fill: #e6edf3 } .tick, .label { fill: #9da7b3 } .axis { stroke: #9da7b3 } .grid { stroke: #30363d }"
	print ".new { stroke: #ff9b57 } .known { stroke: #6cb6ff } .least { stroke: #9da7b3 }"
	print ".new-name { fill: #ff9b57 } .known-name { fill: #6cb6ff } .least-name { fill: #9da7b3 } .dot { fill: #0d1117 }"
	print "}"
	print "</style>"
	text(LEFT, 24, "title", "start", title)
	printf "<text transform=\"translate(16 %d) rotate(-90)\" class=\"label\" text-anchor=\"middle\">%s</text>\n",
		(TOP + FLOOR) / 2, up
	for (panel = 0; panel < 2; panel++) {
		family = 4 + 2 * panel
		left = LEFT + panel * (PLOT + GAP)
		draw_axes(family)
		for (line = 1; line <= count; line++)
			if (points[family, line])
				draw_line(family, line)
		draw_names(family)
	}
	print "</svg>"
}

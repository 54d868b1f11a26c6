# SPDX-License-Identifier: Apache-2.0
#
# What the scripts here have in common: fields of a line of bench.json, and numbers as people read them.

# The value of a field as text; "": the line has none.
function field(line, name,    at, rest) {
	at = index(line, "\"" name "\":")
	if (!at)
		return ""
	rest = substr(line, at + length(name) + 3)
	if (substr(rest, 1, 1) == "\"")
		return substr(rest, 2, index(substr(rest, 2), "\"") - 1)
	match(rest, /^-?[0-9.]+/)
	return substr(rest, 1, RLENGTH)
}

# Name of the field that is the row's figure.
function unit(line,    i, count, names) {
	count = split("net_ns ms core_percent per_s bytes instructions", names, " ")
	for (i = 1; i <= count; i++)
		if (field(line, names[i]) != "")
			return names[i]
	return ""
}

function unit_text(name) {
	return name == "net_ns" ? "ns" : name == "per_s" ? "/s" : name == "core_percent" ? "%" : name
}

# What makes a row that one and no other.
function key(line) {
	return field(line, "bench") "|" field(line, "variant") "|" field(line, "geo") "|" field(line, "family") "|" \
		field(line, "flows") "|" field(line, "prefixes") "|" field(line, "addresses")
}

# 1048576 -> 1,048,576
function commas(number,    text, sign) {
	text = sprintf("%.0f", number)
	sign = text < 0 ? "-" : ""
	sub(/^-/, "", text)
	while (text ~ /^[0-9]+[0-9][0-9][0-9](,|$)/)
		text = insert_comma(text)
	return sign text
}

function insert_comma(text,    end) {
	end = index(text, ",")
	if (!end)
		end = length(text) + 1
	return substr(text, 1, end - 4) "," substr(text, end - 3)
}

# Three digits that count.
function short(number,    size) {
	number += 0
	size = number < 0 ? -number : number
	if (size >= 100 || number == int(number))
		return commas(number)
	return sprintf(size >= 10 ? "%.1f" : "%.2f", number)
}

function megabytes(bytes) {
	return short(bytes / 1e6)
}

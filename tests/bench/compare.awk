# SPDX-License-Identifier: Apache-2.0
#
# One line a row: what it is now and, if an earlier file was given first, what it was.
#	awk -v files=2 -f json.awk -f compare.awk OLD NEW

FNR == 1 { file++ }
field($0, "bench") == "machine" || field($0, "variant") == "baseline" { next }
file < files { old[key($0)] = field($0, unit($0)); next }
{
	name = unit($0)
	now = field($0, name)
	what = field($0, "bench") " " field($0, "variant")
	at = field($0, "flows") != "" ? field($0, "flows") : field($0, "addresses") != "" ? field($0, "addresses") : \
		field($0, "prefixes")
	family = field($0, "family") != "" ? "IPv" field($0, "family") : ""
	share = field($0, "share")
	line = sprintf("%-40s %-4s %9s %12s %-4s", what, family, at, short(now), unit_text(name))
	if (key($0) in old) {
		was = old[key($0)]
		line = line sprintf(" was %12s", short(was))
		if (was > 0)
			line = line sprintf("  %+6.1f %%", (now - was) / was * 100)
	}
	if (share != "" && share < 0.99)
		line = line sprintf("  only %.2f %% were such packets", share * 100)
	print line
}

# SPDX-License-Identifier: Apache-2.0
#
# A new run, and what an older file has of groups that were not run:
#	awk -f json.awk -f keep.awk NEW OLD

FNR == 1 { file++ }
file == 1 { had[field($0, "bench")] = 1 }
file == 2 && field($0, "bench") in had { next }
{ print }

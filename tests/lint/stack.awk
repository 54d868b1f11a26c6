# SPDX-License-Identifier: Apache-2.0
# llvm-objdump -dr of BPF objects: the deepest chain of calls, each frame rounded as kernel 6.1's verifier does
# (check_max_stack_depth: to 32 bytes, and never 0). A chain beyond MOST bytes is an error. object: its name.

function deepen(bytes) {
	if (bytes > frame[here])
		frame[here] = bytes
}

# The deepest chain from a function; its functions in `chain`.
function depth(name, own, best, i, n, of, sum) {
	if (name in sums)
		return sums[name]
	own = int((frame[name] + (frame[name] == 0) + 31) / 32) * 32
	n = split(calls[name], of, " ")
	for (i = 1; i <= n; i++) {
		sum = depth(of[i])
		if (sum > best) {
			best = sum
			next_of[name] = of[i]
		}
	}
	return sums[name] = own + best
}

function tell(name, at) {
	printf "%s: %s: %d bytes of stack, of %d:", object, name, sums[name], MOST
	for (at = name; at != ""; at = next_of[at])
		printf " %s %d", at, frame[at]
	print ""
}

/^[0-9a-f]+ <.*>:$/ {
	here = substr($2, 2, length($2) - 3)
	if (here ~ /^LBB/) { # a label in a function
		here = last
		next
	}
	last = here
	frame[here] += 0
	delete based
	functions++
	next
}
match($0, /r10 - [0-9]+/) { deepen(substr($0, RSTART + 6, RLENGTH - 6) + 0) }
$3 == "=" && $4 == "r10" && NF == 4 { based[$2] = 1 }
$3 == "+=" && $2 in based {
	deepen(-$4)
	delete based[$2]
}
$2 == "R_BPF_64_32" { calls[here] = calls[here] " " $3 }

END {
	if (functions == 0) {
		print "stack.awk: no function in what was read"
		exit 1
	}
	for (name in frame)
		if (depth(name) > MOST) {
			tell(name)
			bad = 1
		}
	exit bad
}

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make lint: every check runs, each failure is shown, one exit code. LINT_STATES: how far clang's
# analyzer follows each function, in states; 225,000 is its own default.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
LINT_STATES=${LINT_STATES:-225000}
export BUILD
failed=()

# The lists of files come from git, which gives none of a checkout that belongs to somebody else (CI,
# sudo): then every check would pass, having looked at nothing.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
git ls-files --error-unmatch tests/lint/run.sh >/dev/null || {
	echo "lint: failed: this is no git checkout, or git is missing"
	exit 1
}

check() { # name command...
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		printf '  LINT     %s\n' "$name"
	else
		printf '  LINT     %s: FAILED\n%s\n' "$name" "$out"
		failed+=("$name")
	fi
}

mapfile -t c_files < <(git ls-files -co --exclude-standard '*.c' '*.h')
mapfile -t sh_files < <(git ls-files -co --exclude-standard '*.sh' .ci/run .githooks/pre-commit)
mapfile -t user_files < <(git ls-files -co --exclude-standard 'user/*.c' 'loader/*.c')

# clang-tidy, and clang's own warnings with it, two at once. One file a call: version 14 misjudges va_list
# in every later one.
tidy_all() {
	printf '%s\n' "${user_files[@]}" |
		xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$@" -- '"$(printf '%q ' "${flags[@]}" \
			-Xclang -analyzer-config -Xclang "max-nodes=$LINT_STATES")"' 2>/dev/null' tidy
}

flags=(-std=gnu11 -D_GNU_SOURCE -I. "-I$BUILD/gen" -DGS_VERSION=\"lint\" -DGS_PREFIX=\"/usr\"
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Werror)
read -ra packages < <(pkg-config --cflags libbpf libxdp libpq libmaxminddb jansson libmnl libmicrohttpd libssl libcrypto libnghttp2)
flags+=("${packages[@]}")

check layers tests/lint/layers.sh
check purity tests/lint/pure.sh
check headers tests/lint/headers.sh
check text tests/lint/text.sh
check man tests/lint/man.sh
check reasons tests/lint/reasons.sh
check stack tests/lint/stack.sh
check shellcheck shellcheck -x "${sh_files[@]}"
check vagrantfile ruby -c vagrant/Vagrantfile
check clang-format clang-format --dry-run -Werror "${c_files[@]}"
check clang-tidy tidy_all

if ((${#failed[@]})); then
	printf 'lint: failed: %s\n' "${failed[*]}"
	exit 1
fi
echo "lint: clean"

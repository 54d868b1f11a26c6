#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make lint: every check runs, each failure is shown, one exit code.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
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

# clang as the second compiler, and clang-tidy: two at once. One file a call of clang-tidy: version
# 14 misjudges va_list in every later one.
clang_all() {
	printf '%s\n' "${user_files[@]}" | xargs -P 2 -n 4 clang -fsyntax-only "${flags[@]}"
}
tidy_all() {
	printf '%s\n' "${user_files[@]}" |
		xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$@" -- '"$(printf '%q ' "${flags[@]}")"' 2>/dev/null' tidy
}

flags=(-std=gnu11 -D_GNU_SOURCE -I. "-I$BUILD/gen" -DGS_VERSION=\"lint\" -DGS_PREFIX=\"/usr\"
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Werror)
read -ra packages < <(pkg-config --cflags libbpf libxdp libpq libmaxminddb jansson libmnl libmicrohttpd)
flags+=("${packages[@]}")

check layers tests/lint/layers.sh
check purity tests/lint/pure.sh
check headers tests/lint/headers.sh
check text tests/lint/text.sh
check man tests/lint/man.sh
check reasons tests/lint/reasons.sh
check shellcheck shellcheck -x "${sh_files[@]}"
check vagrantfile ruby -c vagrant/Vagrantfile
check clang-format clang-format --dry-run -Werror "${c_files[@]}"
check clang clang_all
check clang-tidy tidy_all

if ((${#failed[@]})); then
	printf 'lint: failed: %s\n' "${failed[*]}"
	exit 1
fi
echo "lint: clean"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Layers: who may include what. Arrows of #include only point down; a library has one adapter.
set -euo pipefail
cd "$(dirname "$0")/../.."
bad=0

# file, what it includes, why not
refuse() {
	printf '%s: includes %s: %s\n' "$1" "$2" "$3" >&2
	bad=1
}

project_rule() { # folder of the includer -> regex of project headers it may include
	case $1 in
	maps) echo '^(maps/)?gs_[a-z]+(\.bpf)?\.h$' ;;
	bpf) echo '^(maps/.*|bpf/.*|[a-z_0-9]+)\.h$' ;;
	user/core) echo '^(user/core/[a-z_]+|[a-z_]+|maps/gs_(maps|hash))\.h$' ;;
	user/base) echo '^(user/base/|user/core/)[a-z_]+\.h$|^[a-z_]+\.h$' ;;
	user/app) echo '^(user/(app|base|core)/[a-z_]+|user/ports|[a-z_]+|maps/gs_(maps|hash))\.h$' ;;
	user/adapters) echo '^(user/(adapters|app|base|core)/[a-z_]+|user/ports|[a-z_]+|maps/gs_(maps|hash|probe))\.h$|^migrations\.inc$' ;;
	user/ctl) echo '^(user/(ctl|adapters|app|base|core)/[a-z_]+|user/ports|[a-z_]+)\.h$' ;;
	user) echo '^user/((ctl|adapters|app|base|core)/[a-z_]+|ports)\.h$|^ports\.h$' ;;
	loader) echo '^(loader/|maps/gs_(maps|decap)|user/base/cleanup|[a-z_]+).*\.h$' ;;
	*) echo '.*' ;;
	esac
}

# library header -> the files that may include it
library_rule() {
	case $1 in
	libpq-fe.h | postgres*) echo '^user/adapters/(pg|migrate)[a-z_]*\.[ch]$' ;;
	maxminddb.h) echo '^user/adapters/mmdb[a-z_]*\.[ch]$' ;;
	libmnl/* | linux/neighbour.h) echo '^user/adapters/neighbour[a-z_]*\.[ch]$' ;;
	linux/rtnetlink.h | linux/genetlink.h) echo '^(user/adapters/neighbour[a-z_]*|loader/netlink)\.[ch]$' ;;
	bpf/bpf_helpers.h | bpf/bpf_endian.h) echo '^(bpf|maps)/' ;;
	bpf/* | xdp/*) echo '^(user/adapters/dataplane[a-z_]*\.[ch]|loader/.*)$' ;;
	openssl/*) echo '^user/adapters/probe_tls\.c$' ;;
	nghttp2/*) echo '^user/adapters/probe_grpc\.c$' ;;
	microhttpd.h) echo '^user/adapters/httpd[a-z_]*\.[ch]$' ;;
	jansson.h) echo '^user/(app|adapters|ctl)/|^user/geostreamctl.c$|^loader/' ;;
	sys/epoll.h | sys/timerfd.h | sys/signalfd.h | sys/eventfd.h) echo '^user/(base|adapters)/' ;;
	*) echo '.*' ;;
	esac
}

# stdio and stdlib for snprintf and qsort; pure.sh sees to it that nothing else of them is used.
core_system='^(assert|errno|float|inttypes|limits|math|stdbool|stddef|stdint|stdio|string|stdlib|arpa/inet|linux/types|ctype)\.h$'

while IFS= read -r file; do
	folder=$(dirname "$file")
	while IFS= read -r header; do
		[[ $header =~ $(project_rule "$folder") ]] ||
			refuse "$file" "\"$header\"" "$folder may not reach there"
		if [[ $folder == user/app && $header == maps/* && ! $file =~ ^user/app/tables\. ]]; then
			refuse "$file" "\"$header\"" "in app only tables.[ch] knows the map layout"
		fi
		if [[ $folder == user/adapters && $header == maps/* &&
			! $file =~ ^user/adapters/dataplane ]]; then
			refuse "$file" "\"$header\"" "of the adapters only dataplane knows the map layout"
		fi
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]+"([^"]+)".*/\1/p' "$file")
	while IFS= read -r header; do
		[[ $file =~ $(library_rule "$header") ]] ||
			refuse "$file" "<$header>" "another file is that library's adapter"
		if [[ $folder == user/core && ! $header =~ $core_system ]]; then
			refuse "$file" "<$header>" "core is pure"
		fi
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]+<([^>]+)>.*/\1/p' "$file")
done < <(git ls-files -co --exclude-standard 'maps/*.h' 'bpf/*.[ch]' 'user/*.[ch]' 'loader/*.[ch]')

exit "$bad"

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

# Rules are left in REPLY: a subshell for each of thousands of includes takes most of a minute.
project_rule() { # folder of the includer -> regex of project headers it may include
	case $1 in
	maps) REPLY='^(maps/)?gs_[a-z]+(\.bpf)?\.h$' ;;
	bpf) REPLY='^(maps/.*|bpf/.*|[a-z_0-9]+)\.h$' ;;
	user/core) REPLY='^(user/core/[a-z_]+|[a-z_]+|maps/gs_(maps|hash))\.h$' ;;
	user/base) REPLY='^(user/base/|user/core/)[a-z_]+\.h$|^[a-z_]+\.h$' ;;
	user/app) REPLY='^(user/(app|base|core)/[a-z_]+|user/ports|[a-z_]+|maps/gs_(maps|hash))\.h$' ;;
	user/adapters) REPLY='^(user/(adapters|app|base|core)/[a-z_]+|user/ports|[a-z_]+|maps/gs_(maps|hash|probe))\.h$|^migrations\.inc$' ;;
	user/ctl) REPLY='^(user/(ctl|adapters|app|base|core)/[a-z_]+|user/ports|[a-z_]+)\.h$' ;;
	user) REPLY='^user/((ctl|adapters|app|base|core)/[a-z_]+|ports)\.h$|^ports\.h$' ;;
	loader) REPLY='^(loader/|maps/gs_(maps|decap)|user/base/cleanup|[a-z_]+).*\.h$' ;;
	*) REPLY='.*' ;;
	esac
}

# library header -> the files that may include it
library_rule() {
	case $1 in
	libpq-fe.h | postgres*) REPLY='^user/adapters/(pg|migrate)[a-z_]*\.[ch]$' ;;
	maxminddb.h) REPLY='^user/adapters/mmdb[a-z_]*\.[ch]$' ;;
	libmnl/* | linux/neighbour.h) REPLY='^user/adapters/neighbour[a-z_]*\.[ch]$' ;;
	linux/rtnetlink.h | linux/genetlink.h) REPLY='^(user/adapters/neighbour[a-z_]*|loader/netlink)\.[ch]$' ;;
	bpf/bpf_helpers.h | bpf/bpf_endian.h) REPLY='^(bpf|maps)/' ;;
	bpf/* | xdp/*) REPLY='^(user/adapters/dataplane[a-z_]*\.[ch]|loader/.*)$' ;;
	openssl/*) REPLY='^user/adapters/probe_tls\.c$' ;;
	nghttp2/*) REPLY='^user/adapters/probe_grpc\.c$' ;;
	microhttpd.h) REPLY='^user/adapters/httpd[a-z_]*\.[ch]$' ;;
	jansson.h) REPLY='^user/(app|adapters|ctl)/|^user/geostreamctl.c$|^loader/' ;;
	sys/epoll.h | sys/timerfd.h | sys/signalfd.h | sys/eventfd.h) REPLY='^user/(base|adapters)/' ;;
	*) REPLY='.*' ;;
	esac
}

# stdio and stdlib for snprintf and qsort; pure.sh sees to it that nothing else of them is used.
core_system='^(assert|errno|float|inttypes|limits|math|stdbool|stddef|stdint|stdio|string|stdlib|arpa/inet|linux/types|ctype)\.h$'

# Lines: FILE:#include "HEADER or FILE:#include <HEADER
while IFS= read -r line; do
	file=${line%%:*}
	folder=${file%/*}
	header=${line##*[\"<]}
	if [[ $line == *'<'* ]]; then
		library_rule "$header"
		[[ $file =~ $REPLY ]] || refuse "$file" "<$header>" "another file is that library's adapter"
		if [[ $folder == user/core && ! $header =~ $core_system ]]; then
			refuse "$file" "<$header>" "core is pure"
		fi
		continue
	fi
	project_rule "$folder"
	[[ $header =~ $REPLY ]] || refuse "$file" "\"$header\"" "$folder may not reach there"
	if [[ $folder == user/app && $header == maps/* && ! $file =~ ^user/app/tables\. ]]; then
		refuse "$file" "\"$header\"" "in app only tables.[ch] knows the map layout"
	fi
	if [[ $folder == user/adapters && $header == maps/* &&
		! $file =~ ^user/adapters/dataplane ]]; then
		refuse "$file" "\"$header\"" "of the adapters only dataplane knows the map layout"
	fi
done < <(git ls-files -co --exclude-standard 'maps/*.h' 'bpf/*.[ch]' 'user/*.[ch]' 'loader/*.[ch]' |
	xargs grep -HoE '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<][^">]+')

exit "$bad"

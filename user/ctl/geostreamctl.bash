# bash completion for geostreamctl                                        -*- shell-script -*-
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Objects and verbs come from the program itself, names from the database if it answers within a second.

_geostreamctl() {
	local current=${COMP_WORDS[COMP_CWORD]} words=() options=() word i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		-c | --config | -s | --socket | -d | --database | -a | --actor)
			((${#words[@]})) || options+=("$word" "${COMP_WORDS[i + 1]:-}")
			i=$((i + 1))
			;;
		-*) ;;
		*) words+=("$word") ;;
		esac
	done
	_geostreamctl_list() {
		timeout 1 geostreamctl "${options[@]}" "$@" 2>/dev/null
	}
	# What operators' words are laid over; of a service, in its regions.
	_geostreamctl_objects() {
		case $1 in
		service) words=("$(_geostreamctl_list backend list | awk 'NR > 1 { print $2 "@" $3 }' | sort -u)") ;;
		region | backend) words=("$(_geostreamctl_list "$1" list | awk 'NR > 1 { print $1 }')") ;;
		*) return 1 ;;
		esac
	}
	_geostreamctl_words() {
		case ${#words[@]} in
		0) words=("$(geostreamctl complete | cut -d ' ' -f 1 | sort -u)") ;;
		1) words=("$(geostreamctl complete | sed -n "s/^${words[0]//[^a-z]/} //p")") ;;
		2)
			case ${words[1]} in
			show | set | remove)
				case ${words[0]} in
				quorum) [[ ${words[1]} == set ]] && words=("$(_geostreamctl_list quorum show | awk '$1 != "revision" { print $1 "=" }')") || return 1 ;;
				access) words=("$(_geostreamctl_list access list | awk 'NR > 1 { print $1 ($2 ~ /^(allow|deny)$/ ? "" : "@" $2) }')") ;;
				fence) words=("$(_geostreamctl_list fence list | awk 'NR > 1 { print $1 ($3 ~ /^(free|fenced)$/ ? "" : "@" $2) }')") ;;
				*) words=("$(_geostreamctl_list "${words[0]}" list | awk 'NR > 1 { print $1 }')") ;;
				esac
				;;
			clear) _geostreamctl_objects backend ;;
			force | release) words=("$(_geostreamctl_list service list | awk 'NR > 1 { print $1 }')") ;;
			drain | maintain | force-up | force-down | auto) _geostreamctl_objects "${words[0]}" || return 1 ;;
			region | service | backend) words=($'drain\nmaintain\nforce-up\nforce-down\nauto') ;;
			*) return 1 ;;
			esac
			;;
		3)
			case ${words[1]} in
			set) words=("$(_geostreamctl_list "${words[0]}" show "${words[2]}" | awk '$1 !~ /^(name|prefix|place|revision)$/ && NF == 2 { print $1 "=" }')") ;;
			force | release) words=("$(_geostreamctl_list region list | awk 'NR > 1 { print $1 }')") ;;
			region | service | backend) _geostreamctl_objects "${words[1]}" || return 1 ;;
			*) return 1 ;;
			esac
			;;
		*) return 1 ;;
		esac
	}
	case ${words[0]:-}:${words[1]:-}:${COMP_WORDS[COMP_CWORD - 1]}:$current in
	?*:*:*:-*) words=("$(_geostreamctl_list "${words[@]:0:2}" --help | grep -oE -- '--[a-z-]+' | sort -u)") ;;
	flow:*:--backend:* | flow:*:--service:* | monitor:*:--service:*)
		words=("$(_geostreamctl_list "${COMP_WORDS[COMP_CWORD - 1]#--}" list | awk 'NR > 1 { print $1 }')")
		;;
	flow:*:--state:*) words=($'active\nquiet\nunproven\nclosed\nabandoned') ;;
	flow:*:--by:*) words=($'backend\nservice\nstate\nregion') ;;
	demand:*:--policy:*) words=("$(_geostreamctl_list policy list | awk 'NR > 1 { print $1 }')") ;;
	demand:*:--by:*) words=($'policy\nlocation\nregion\ncountry') ;;
	monitor:*:--reason:*) words=($'drop\ntx\npass') ;;
	flow:[a-z]*:* | monitor:* | demand:[a-z]*:*) return ;;
	*) _geostreamctl_words || return ;;
	esac
	# Not by compgen -W: it would run what a name has in it.
	while IFS= read -r word; do
		[[ -n $word && $word == "$current"* ]] && COMPREPLY+=("$word")
	done <<<"${words[0]}"
	[[ ${COMPREPLY[0]:-} == *= ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -F _geostreamctl geostreamctl

# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the lab's answers are held against: nothing here is GeoStream's own code. The coordinates of
# an address come from mmdblookup, the regions from the sample configuration by jq, the distance
# from the haversine formula in awk.

oracle_coordinates() { # ADDRESS; prints "LATITUDE LONGITUDE"
	local latitude longitude
	latitude=$(mmdblookup --file "$LAB_MMDB" --ip "$1" location latitude) || return 1
	longitude=$(mmdblookup --file "$LAB_MMDB" --ip "$1" location longitude) || return 1
	printf '%s %s\n' "$(oracle_number <<<"$latitude")" "$(oracle_number <<<"$longitude")"
}

oracle_number() { # mmdblookup prints "  51.5 <double>"
	awk 'NF { print $1 }'
}

oracle_country() { # ADDRESS
	mmdblookup --file "$LAB_MMDB" --ip "$1" country iso_code | tr -d ' "\n' | sed 's/<.*//'
}

# The country as the database's own source has it, without any mmdb: IPv4 ranges of whole numbers.
oracle_tor_country() { # IPV4_ADDRESS
	awk -F , -v address="$1" '
	BEGIN { split(address, byte, "."); number = ((byte[1] * 256 + byte[2]) * 256 + byte[3]) * 256 + byte[4] }
	$1 <= number && number <= $2 && $1 ~ /^[0-9]+$/ { print $3; exit }' "$LAB_TOR/geoip"
}

# One of the country's time zones is there, by tzdata: +DDMM+DDDMM or +DDMMSS+DDDMMSS.
oracle_is_zone() { # COUNTRY LATITUDE LONGITUDE
	awk -v country="${1^^}" -v lat="$2" -v lon="$3" '
	function degrees(text, digits) { # of degrees: 2 or 3
		value = substr(text, 2, digits) + substr(text, 2 + digits, 2) / 60
		value += substr(text, 4 + digits, 2) / 3600
		return substr(text, 1, 1) == "-" ? -value : value
	}
	function apart(a, b) { return a + 0 > b + 0 ? a - b : b - a }
	$1 == country {
		cut = length($2) == 11 ? 5 : 7
		if (apart(degrees(substr($2, 1, cut), 2), lat) < 0.001 &&
		    apart(degrees(substr($2, cut + 1), 3), lon) < 0.001)
			found = 1
	}
	END { exit !found }' /usr/share/zoneinfo/zone.tab
}

# Regions, nearest first: "REGION KILOMETRES" a line.
oracle_regions() { # LATITUDE LONGITUDE
	jq -r '.regions[] | "\(.name) \(.latitude) \(.longitude)"' "$LAB_SAMPLE" |
		awk -v lat="$1" -v lon="$2" '
		function radians(degrees) { return degrees * atan2(0, -1) / 180 }
		function sine_squared(x) { return sin(x / 2) * sin(x / 2) }
		{
			h = sine_squared(radians($2 - lat)) + cos(radians(lat)) * cos(radians($2)) * sine_squared(radians($3 - lon))
			printf "%s %.3f\n", $1, 2 * 6371.0088 * atan2(sqrt(h), sqrt(1 - h))
		}' | sort -k2 -n
}

oracle_nearest() { # ADDRESS
	local coordinates
	coordinates=$(oracle_coordinates "$1") || return 1
	# shellcheck disable=SC2086 # two numbers
	oracle_regions $coordinates | awk 'NR == 1 { print $1 }'
}

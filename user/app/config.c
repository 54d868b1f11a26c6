/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "geo_change.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/suggest.h"
#include "user/core/cidr.h"
#include "user/core/geo.h"
#include "user/core/latency.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum setting_type {
	TEXT,
	NAME,
	PATH,
	LEVEL,
	FORMAT,
	MILLISECONDS,
	SOURCES4,
	SOURCES6,
	ANNOUNCE,
	ONE_IN,
	PERIOD,
	ANCHORS,
	COORDINATES,
	PERCENT
};

enum { FILE_MAX_BYTES = 65536, VALUE_MAX_BYTES = 1024 };

struct setting {
	const char *key;
	enum setting_type type;
	size_t offset;
	size_t size;
	bool reloadable;
	const char *fallback; /* NULL: worked out at start */
};

#define FIELD(member) offsetof(struct gs_config, member), sizeof(((struct gs_config *)0)->member)

static const char NO_VALUE[] = "";

static const struct setting SETTINGS[] = {
	{"database", TEXT, FIELD(database), false, NO_VALUE},
	{"edge", NAME, FIELD(edge), false, NULL},
	{"site", TEXT, FIELD(site), false, NO_VALUE},
	{"coordinates", COORDINATES, FIELD(coordinates), true, NO_VALUE},
	{"geoip", PATH, FIELD(geoip), true, NO_VALUE},
	{"geoip_change_limit", PERCENT, FIELD(geoip_change_limit), true, "20"},
	{"asn", PATH, FIELD(asn), true, NO_VALUE},
	{"pin_dir", PATH, FIELD(pin_dir), false, "/sys/fs/bpf/geostream"},
	{"socket", PATH, FIELD(socket), false, "/run/geostream/geostreamd.sock"},
	{"state_dir", PATH, FIELD(state_dir), false, "/var/lib/geostream"},
	{"http_listen", TEXT, FIELD(http_listen), false, "127.0.0.1:8080"},
	{"log_level", LEVEL, FIELD(log_level), true, "info"},
	{"log_format", FORMAT, FIELD(log_format), true, "logfmt"},
	{"failover_budget_ms", MILLISECONDS, FIELD(failover_budget_ms), true, "1000"},
	{"probe_commands", PATH, FIELD(probe_commands), false, "/etc/geostream/probes"},
	{"outer_source4", SOURCES4, FIELD(outer_sources.v4), false, NO_VALUE},
	{"outer_source6", SOURCES6, FIELD(outer_sources.v6), false, NO_VALUE},
	{"announce", ANNOUNCE, FIELD(announce), false, "auto"},
	{"handshakes", ONE_IN, FIELD(handshakes), true, "64"},
	{"anchors", ANCHORS, FIELD(anchors), true, NO_VALUE},
	{"latency_ms", PERIOD, FIELD(latency_ms), true, "10000"},
};

static const char *const LEVELS[] = {"error", "warning", "info", "debug"};
static const char *const FORMATS[] = {"logfmt", "json"};
static const char *const ANNOUNCES[] = {"auto", "on", "off"};

/* ---- one value ------------------------------------------------------------------------------- */

static int find_word(const char *const words[], size_t count, const char *value)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], value) == 0)
			return (int)i;
	return -1;
}

static int store_text(const struct setting *setting, void *field, const char *value,
		      struct gs_error *error)
{
	if (strlen(value) >= setting->size)
		return gs_error_set(-EINVAL, error, "%s: longer than %zu bytes", setting->key,
				    setting->size - 1);
	if (setting->type == PATH && *value && *value != '/')
		return gs_error_set(-EINVAL, error, "%s: '%s' is no absolute path", setting->key,
				    value);
	/* Only the database (libpq's own variables), the GeoIP and ASN files and HTTP may be left
	 * out. */
	if (!*value && setting->fallback != NO_VALUE &&
	    setting->offset != offsetof(struct gs_config, http_listen))
		return gs_error_set(-EINVAL, error, "%s: is empty", setting->key);
	for (const unsigned char *p = (const unsigned char *)value; *p; p++)
		if (iscntrl(*p))
			return gs_error_set(-EINVAL, error, "%s: has a control character",
					    setting->key);
	memcpy(field, value, strlen(value) + 1);
	return 0;
}

static int store_milliseconds(const struct setting *setting, void *field, const char *value,
			      struct gs_error *error)
{
	bool is_period = setting->type == PERIOD;
	unsigned long least = is_period ? GS_LATENCY_PERIOD_MIN_MS : 1;
	unsigned long most = is_period ? GS_LATENCY_PERIOD_MAX_MS : 3600000;
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)*value) || *end || errno || number < least || number > most)
		return gs_error_set(-EINVAL, error,
				    "%s: '%s' is no number of milliseconds (%lu to %lu)",
				    setting->key, value, least, most);
	*(uint32_t *)field = (uint32_t)number;
	return 0;
}

/* Unicast prefixes only: /8 to /32, /64 to /128. "": the edge's own address. */
static int store_sources(const struct setting *setting, void *field, const char *value,
			 struct gs_error *error)
{
	bool is_v4 = setting->type == SOURCES4;
	struct gs_prefix prefix = {.length = 0};

	if (*value && (gs_prefix_parse(value, &prefix) || prefix.is_v4 != is_v4 ||
		       prefix.length < (is_v4 ? 8 : 64) || prefix.addr.bytes[is_v4 ? 12 : 0] == 0 ||
		       prefix.addr.bytes[is_v4 ? 12 : 0] == (is_v4 ? 127 : 0xff) ||
		       (is_v4 && prefix.addr.bytes[12] >= 224)))
		return gs_error_set(-EINVAL, error, "%s: '%.60s' is no unicast prefix %s",
				    setting->key, value,
				    is_v4 ? "of IPv4, /8 to /32" : "of IPv6, /64 to /128");
	memcpy(field, &prefix, sizeof(prefix));
	return 0;
}

static int store_one_in(const struct setting *setting, void *field, const char *value,
			struct gs_error *error)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)*value) || *end || errno || number > 65536 ||
	    (number & (number - 1)) != 0)
		return gs_error_set(-EINVAL, error,
				    "%s: '%s' is neither 0 nor a power of two up to 65536",
				    setting->key, value);
	*(uint32_t *)field = (uint32_t)number;
	return 0;
}

/* Of 0 to 100, or "off". */
static int store_percent(const struct setting *setting, void *field, const char *value,
			 struct gs_error *error)
{
	unsigned long number = GS_GEO_LIMIT_OFF;
	char *end;

	if (strcmp(value, "off") != 0) {
		errno = 0;
		number = strtoul(value, &end, 10);
		if (!isdigit((unsigned char)*value) || *end || errno || number > 100)
			return gs_error_set(-EINVAL, error,
					    "%s: '%s' is neither off nor a whole percentage "
					    "(0 to 100)",
					    setting->key, value);
	}
	*(uint32_t *)field = (uint32_t)number;
	return 0;
}

static int store_anchors(const struct setting *setting, void *field, const char *value,
			 struct gs_error *error)
{
	char why[GS_ERROR_MAX - 64];

	if (gs_anchors_parse(value, field, why, sizeof(why)))
		return gs_error_set(-EINVAL, error, "%s: %s", setting->key, why);
	return 0;
}

/* One number of degrees as people write it, and only that: strtod takes more. */
static const char *read_degrees(const char *text, double *ret_degrees)
{
	char stop = text[strspn(text, "+-0123456789. ")], *end;

	if (stop && stop != ',')
		return NULL;
	*ret_degrees = strtod(text, &end);
	return end == text ? NULL : end + strspn(end, " ");
}

/* "": nobody tells. */
static int store_coordinates(const struct setting *setting, void *field, const char *value,
			     struct gs_error *error)
{
	struct gs_config_coord told = {.is_told = *value != '\0'};
	const char *at = value;

	if (told.is_told) {
		at = read_degrees(at, &told.coord.lat_deg);
		if (at)
			at = *at == ',' ? read_degrees(at + 1, &told.coord.lon_deg) : NULL;
	}
	if (!at || *at || !gs_coord_is_valid(&told.coord))
		return gs_error_set(-EINVAL, error,
				    "%s: '%.60s' is no LATITUDE,LONGITUDE in degrees "
				    "(-90 to 90, -180 to 180)",
				    setting->key, value);
	memcpy(field, &told, sizeof(told));
	return 0;
}

static int store(struct gs_config *config, const struct setting *setting, const char *value,
		 struct gs_error *error)
{
	void *field = (char *)config + setting->offset;
	int word;

	switch (setting->type) {
	case LEVEL:
		word = find_word(LEVELS, ARRAY_SIZE(LEVELS), value);
		if (word < 0)
			return gs_error_set(-EINVAL, error,
					    "%s: '%s' is none of error, warning, info, debug",
					    setting->key, value);
		*(enum gs_log_level *)field = (enum gs_log_level)word;
		return 0;
	case FORMAT:
		word = find_word(FORMATS, ARRAY_SIZE(FORMATS), value);
		if (word < 0)
			return gs_error_set(-EINVAL, error, "%s: '%s' is none of logfmt, json",
					    setting->key, value);
		*(enum gs_log_format *)field = (enum gs_log_format)word;
		return 0;
	case SOURCES4:
	case SOURCES6:
		return store_sources(setting, field, value, error);
	case ANNOUNCE:
		word = find_word(ANNOUNCES, ARRAY_SIZE(ANNOUNCES), value);
		if (word < 0)
			return gs_error_set(-EINVAL, error, "%s: '%s' is none of auto, on, off",
					    setting->key, value);
		*(enum gs_announce *)field = (enum gs_announce)word;
		return 0;
	case MILLISECONDS:
	case PERIOD:
		return store_milliseconds(setting, field, value, error);
	case ANCHORS:
		return store_anchors(setting, field, value, error);
	case COORDINATES:
		return store_coordinates(setting, field, value, error);
	case PERCENT:
		return store_percent(setting, field, value, error);
	case ONE_IN:
		return store_one_in(setting, field, value, error);
	default:
		return store_text(setting, field, value, error);
	}
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const struct setting *find_setting(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++)
		if (strcmp(SETTINGS[i].key, key) == 0)
			return &SETTINGS[i];
	return NULL;
}

static int unknown_key(const char *key, struct gs_error *error)
{
	const char *keys[ARRAY_SIZE(SETTINGS)];
	const char *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++)
		keys[i] = SETTINGS[i].key;
	nearest = gs_suggest(key, keys, ARRAY_SIZE(keys));
	if (nearest)
		return gs_error_set(-EINVAL, error, "no setting '%.40s'; did you mean '%s'?", key,
				    nearest);
	return gs_error_set(-EINVAL, error, "no setting '%.40s'", key);
}

static int set_one(struct gs_config *config, const char *key, const char *value, const char *place,
		   const struct gs_config_problems *problems)
{
	const struct setting *setting = find_setting(key);
	struct gs_error error;
	int err;

	err = setting ? store(config, setting, value, &error) : unknown_key(key, &error);
	if (err)
		problems->on_problem(problems->context, place, error.text);
	return err;
}

/* ---- sources --------------------------------------------------------------------------------- */

void gs_config_default(struct gs_config *ret_config)
{
	struct gs_error error;

	memset(ret_config, 0, sizeof(*ret_config));
	for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++)
		if (SETTINGS[i].fallback)
			store(ret_config, &SETTINGS[i], SETTINGS[i].fallback, &error);
	if (gethostname(ret_config->edge, sizeof(ret_config->edge) - 1) || !ret_config->edge[0])
		memcpy(ret_config->edge, "edge", sizeof("edge"));
}

static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return text;
}

static int read_line(struct gs_config *config, char *line, const char *place, unsigned int number,
		     unsigned int seen[], const struct gs_config_problems *problems)
{
	char *equals = strchr(line, '='), *key, *value;
	const struct setting *setting;
	char text[96];

	if (!equals) {
		problems->on_problem(problems->context, place, "expected `key = value`");
		return -EINVAL;
	}
	*equals = '\0';
	key = trim(line);
	value = trim(equals + 1);
	setting = find_setting(key);
	if (setting) {
		unsigned int *first = &seen[setting - SETTINGS];

		if (*first) {
			snprintf(text, sizeof(text), "%s: set twice (first on line %u)", key,
				 *first);
			problems->on_problem(problems->context, place, text);
			return -EINVAL;
		}
		*first = number;
	}
	return set_one(config, key, value, place, problems);
}

int gs_config_read_text(struct gs_config *config, const char *name, const char *text, size_t length,
			const struct gs_config_problems *problems)
{
	unsigned int seen[ARRAY_SIZE(SETTINGS)] = {0};
	unsigned int number = 0;
	int result = 0;

	for (size_t at = 0; at < length;) {
		const char *newline = memchr(text + at, '\n', length - at);
		size_t bytes = newline ? (size_t)(newline - text) - at : length - at;
		char line[VALUE_MAX_BYTES + 64], place[PATH_MAX + 16];
		char *start;

		snprintf(place, sizeof(place), "%s:%u", name, ++number);
		if (bytes >= sizeof(line) || memchr(text + at, '\0', bytes)) {
			problems->on_problem(problems->context, place,
					     bytes >= sizeof(line) ? "line too long"
								   : "has a zero byte");
			result = -EINVAL;
		} else {
			memcpy(line, text + at, bytes);
			line[bytes] = '\0';
			start = trim(line);
			if (*start && *start != '#' &&
			    read_line(config, start, place, number, seen, problems))
				result = -EINVAL;
		}
		at += bytes + 1;
	}
	return result;
}

int gs_config_read_file(struct gs_config *config, const char *path,
			const struct gs_config_problems *problems)
{
	GS_AUTO_FREE char *text = malloc(FILE_MAX_BYTES + 1);
	GS_AUTO_FCLOSE FILE *file = NULL;
	size_t length;

	if (!text)
		return -ENOMEM;
	errno = 0;
	file = fopen(path, "re");
	length = file ? fread(text, 1, FILE_MAX_BYTES + 1, file) : 0;
	if (!file || ferror(file)) {
		int err = errno ? errno : EIO;

		problems->on_problem(problems->context, path, strerror(err));
		return -err;
	}
	if (length > FILE_MAX_BYTES) {
		problems->on_problem(problems->context, path, "larger than 64 KiB");
		return -EINVAL;
	}
	return gs_config_read_text(config, path, text, length, problems);
}

int gs_config_read_environment(struct gs_config *config, const struct gs_config_problems *problems)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
		char name[64];
		const char *value;
		int length = snprintf(name, sizeof(name), "GEOSTREAM_%s", SETTINGS[i].key);

		for (int j = 0; j < length; j++)
			name[j] = (char)toupper((unsigned char)name[j]);
		value = getenv(name);
		if (value && set_one(config, SETTINGS[i].key, value, name, problems))
			result = -EINVAL;
	}
	return result;
}

int gs_config_set(struct gs_config *config, const char *assignment, const char *place,
		  const struct gs_config_problems *problems)
{
	char line[VALUE_MAX_BYTES + 64];
	char *equals;

	if (strlen(assignment) >= sizeof(line)) {
		problems->on_problem(problems->context, place, "too long");
		return -EINVAL;
	}
	strcpy(line, assignment);
	equals = strchr(line, '=');
	if (!equals) {
		problems->on_problem(problems->context, place, "expected key=value");
		return -EINVAL;
	}
	*equals = '\0';
	return set_one(config, trim(line), trim(equals + 1), place, problems);
}

static bool same_value(const struct setting *setting, const struct gs_config *a,
		       const struct gs_config *b)
{
	const char *left = (const char *)a + setting->offset;
	const char *right = (const char *)b + setting->offset;

	if (setting->type == TEXT || setting->type == NAME || setting->type == PATH)
		return strcmp(left, right) == 0;
	return memcmp(left, right, setting->size) == 0;
}

const char *gs_config_not_reloadable(const struct gs_config *running, const struct gs_config *next,
				     char *out, size_t room)
{
	size_t length = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
		if (SETTINGS[i].reloadable || same_value(&SETTINGS[i], running, next))
			continue;
		length += (size_t)snprintf(out + length, length < room ? room - length : 0, "%s%s",
					   length ? "," : "", SETTINGS[i].key);
		if (length >= room)
			break;
	}
	return out;
}

// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_connection.h"

#include "user/adapters/adapters.h"

#include "user/base/error.h"

#include <errno.h>
#include <string.h>

/* Without these a server that vanished is noticed after hours. Before conninfo: it may differ. */
static const char *const defaults[][2] = {
	{"connect_timeout", "5"},     {"keepalives", "1"},	 {"keepalives_idle", "5"},
	{"keepalives_interval", "2"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "5000"},
};

void gs_pg_parameters_fill(const char *conninfo, const char *application,
			   struct gs_pg_parameters *ret_parameters)
{
	struct gs_pg_parameters parameters = {{0}, {0}};
	size_t count = sizeof(defaults) / sizeof(defaults[0]);
	const char *const ours[][2] = {
		{"dbname", conninfo},
		{"application_name", application},
		{"client_encoding", "UTF8"},
		{"target_session_attrs", "read-write"},
	};

	for (size_t i = 0; i < count; i++) {
		parameters.keywords[i] = defaults[i][0];
		parameters.values[i] = defaults[i][1];
	}
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		parameters.keywords[count + i] = ours[i][0];
		parameters.values[count + i] = ours[i][1];
	}
	*ret_parameters = parameters;
}

int gs_pg_check_conninfo(const char *conninfo, struct gs_error *error)
{
	PQconninfoOption *options;
	char *why = NULL;

	/* libpq takes anything else for the name of a database. */
	if (!strchr(conninfo, '=') && strncmp(conninfo, "postgres://", 11) != 0 &&
	    strncmp(conninfo, "postgresql://", 13) != 0)
		return 0;
	options = PQconninfoParse(conninfo, &why);
	PQconninfoFree(options);
	PQfreemem(why);
	return options ? 0
		       : gs_error_set(-EINVAL, error,
				      "database: neither \"key=value ...\" nor a postgresql:// URI "
				      "that libpq understands (not shown, it may hold a password)");
}

const char *gs_pg_one_line(const char *text, char *out, size_t size)
{
	size_t length = 0;

	for (; *text && length + 1 < size; text++) {
		char c = (unsigned char)*text < ' ' ? ' ' : *text;

		if (c != ' ' || (length > 0 && out[length - 1] != ' '))
			out[length++] = c;
	}
	while (length > 0 && out[length - 1] == ' ')
		length--;
	out[length] = '\0';
	return out;
}

int gs_pg_connect(const char *conninfo, const char *application, PGconn **ret_connection,
		  struct gs_error *error)
{
	struct gs_pg_parameters parameters;
	PGconn *connection;

	if (gs_pg_check_conninfo(conninfo, error) != 0)
		return -EINVAL;
	gs_pg_parameters_fill(conninfo, application, &parameters);
	connection = PQconnectdbParams(parameters.keywords, parameters.values, 1);
	if (PQstatus(connection) != CONNECTION_OK) {
		char line[GS_ERROR_MAX];

		gs_error_set(0, error, "database: %s",
			     gs_pg_one_line(PQerrorMessage(connection), line, sizeof(line)));
		PQfinish(connection);
		return -ECONNREFUSED;
	}
	*ret_connection = connection;
	return 0;
}

void gs_pg_finish_ptr(PGconn **connection)
{
	PQfinish(*connection);
}

void gs_pg_clear_ptr(PGresult **result)
{
	PQclear(*result);
}

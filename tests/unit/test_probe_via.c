/* SPDX-License-Identifier: Apache-2.0 */
/* Which probes go through the tunnel, and which straight to the backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/core/probe_via.h"

#include <string.h>

static void who_goes_where(void **state)
{
	static const struct {
		const char *via;
		enum gs_probe_kind kind;
		uint16_t probe_port, port;
		enum gs_forward forward;
		const char *direct; /* a word of why; NULL: through the tunnel */
	} cases[] = {
		{"auto", GS_PROBE_TCP, 0, 80, GS_FORWARD_AS_IPIP, NULL},
		{"", GS_PROBE_HTTP, 0, 80, GS_FORWARD_AS_GUE, NULL},
		{"auto", GS_PROBE_HTTPS, 443, 443, GS_FORWARD_AS_L2, NULL},
		{"auto", GS_PROBE_DNS, 53, 0, GS_FORWARD_AS_IPIP, NULL},
		{"auto", GS_PROBE_GRPC, 8080, 80, GS_FORWARD_AS_IPIP, "port"},
		{"tunnel", GS_PROBE_GRPC, 8080, 80, GS_FORWARD_AS_IPIP, NULL},
		{"tunnel", GS_PROBE_UDP, 0, 53, GS_FORWARD_AS_GUE, NULL},
		{"direct", GS_PROBE_TCP, 0, 80, GS_FORWARD_AS_IPIP, "as the service says"},
		{"auto", GS_PROBE_TCP, 0, 80, GS_FORWARD_AS_NAT, "nat"},
		{"tunnel", GS_PROBE_TCP, 0, 80, GS_FORWARD_AS_NAT, "nat"},
		{"tunnel", GS_PROBE_ICMP, 0, 80, GS_FORWARD_AS_IPIP, "icmp"},
		{"tunnel", GS_PROBE_EXEC, 0, 80, GS_FORWARD_AS_IPIP, "command"},
		{"tunnel", GS_PROBE_NONE, 0, 80, GS_FORWARD_AS_IPIP, "not probed"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gs_service service = {.port = cases[i].port};
		struct gs_backend backend = {.forward = cases[i].forward};
		const char *why;

		service.probe.kind = cases[i].kind;
		service.probe.port = cases[i].probe_port;
		strcpy(service.probe.via, cases[i].via);
		why = gs_probe_direct_why(&service, &backend);
		if (!why != !cases[i].direct || (why && !strstr(why, cases[i].direct)))
			fail_msg("row %zu: %s", i, why ? why : "through the tunnel");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(who_goes_where)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

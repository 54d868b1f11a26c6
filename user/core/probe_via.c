// SPDX-License-Identifier: Apache-2.0
#include "probe_via.h"

#include <string.h>

const char *gs_probe_direct_why(const struct gs_service *service, const struct gs_backend *backend)
{
	const struct gs_probe_spec *probe = &service->probe;

	if (strcmp(probe->via, "direct") == 0)
		return "as the service says";
	switch (probe->kind) {
	case GS_PROBE_NONE:
		return "it is not probed";
	case GS_PROBE_EXEC:
		return "a command goes its own ways";
	case GS_PROBE_ICMP:
		return "icmp asks the machine, not the service";
	default:
		break;
	}
	/* The edge's own address would answer: NAT's clients are known by it. */
	if (backend->forward == GS_FORWARD_AS_NAT)
		return "with nat the backend answers to its own address";
	if (strcmp(probe->via, "tunnel") != 0 && probe->port != 0 && service->port != 0 &&
	    probe->port != service->port)
		return "the probe has a port of its own";
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of two ways probes go: straight to the backend's own address, or through the tunnel: to the
 * VIP, wrapped as clients' packets are. Pure.
 */
#pragma once

#include "types.h"

/*
 * NULL: through the tunnel, as far as the edge can. Else why they go straight, for people. `auto`
 * is the tunnel, unless the probe has a port of its own: that is a question to the machine, which
 * may not listen there at the VIP.
 */
const char *gs_probe_direct_why(const struct gs_service *service, const struct gs_backend *backend);

/* SPDX-License-Identifier: Apache-2.0 */
/* Beside other programs: libxdp's dispatcher, and never its silent fallback to a program alone. */
#pragma once

#include "loader/loader.h"
#include "loader/nic.h"

/*
 * loader: opened with gs_loader_open_unloaded; libxdp loads it. -EOPNOTSUPP: this kernel refuses
 * the dispatcher's programs (freplace); nothing is attached then. Another -errno.
 */
int gs_dispatcher_attach(const struct gs_loader *loader, const struct gs_nic *nic,
			 enum gs_xdp_mode mode, struct gs_loader_error *error);
/* The other programs stay; the dispatcher goes with the last. */
int gs_dispatcher_detach(const struct gs_nic *nic, uint32_t prog_id, struct gs_loader_error *error);
/* All of them. */
int gs_dispatcher_remove(const struct gs_nic *nic, struct gs_loader_error *error);

/* SPDX-License-Identifier: Apache-2.0 */
/* The kit's place among the filters of an interface's clsact qdisc, at egress. All: 0 or -errno. */
#pragma once

#include "loader/error.h"

#include <stdbool.h>
#include <stdint.h>

int gs_decap_filter_mtu(const char *interface, uint32_t *ret_mtu);
/* *ret_prog_id: whose program is there; 0: nobody's. */
int gs_decap_filter_find(uint32_t ifindex, uint32_t *ret_prog_id);
/* replace: one is there, and makes place in one step. *ret_made: the qdisc was made for it. */
int gs_decap_filter_put(uint32_t ifindex, int prog_fd, bool replace, bool *ret_made,
			struct gs_loader_error *error);
int gs_decap_filter_take(uint32_t ifindex, struct gs_loader_error *error);
/* The qdisc goes, unless somebody has filters there. */
int gs_decap_filter_end(uint32_t ifindex);

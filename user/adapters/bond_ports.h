/* SPDX-License-Identifier: Apache-2.0 */
/* Which links are ports of bonds, for announce.c. */
#pragma once

#include "user/ports.h"

/* Fills in `bond` of the set's links, as the kernel of this network namespace says. */
void gs_bond_mark_ports(struct gs_link_set *set);

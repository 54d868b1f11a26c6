/* SPDX-License-Identifier: Apache-2.0 */
/* Takes another's XDP program off an interface, for --force. */
#pragma once

#include "loader/error.h"
#include "loader/nic.h"

/*
 * nic: GS_NIC_FOREIGN, as it was just looked at; program_fd: its program. Only that program, of
 * that interface, goes. 0; -EBUSY: it is held by a bpf_link, and several are possible, or none is
 * seen; -EEXIST: another was put in its place since; -EXDEV: a link of another network namespace
 * was hit, which should not happen and cannot be undone; another -errno. Nothing was changed,
 * -EXDEV apart.
 */
int gs_foreign_remove(const struct gs_nic *nic, int program_fd, struct gs_loader_error *error);

/* SPDX-License-Identifier: Apache-2.0 */
/* Probes by a command of the operator's: started by a thread, watched by the loop, few at once. */
#pragma once

#include "adapters.h"

struct gs_exec;

/* Commands that run at the same time; others wait for their turn. */
enum { GS_EXEC_MAX = 32 };

/* settings: copied. 0 or -errno. */
int gs_exec_new(struct gs_loop *loop, const struct gs_probe_settings *settings,
		struct gs_exec **ret_exec);
/* After the probes. Commands that still run are killed. NULL is fine. */
void gs_exec_free(struct gs_exec *exec);

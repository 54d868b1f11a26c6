/* SPDX-License-Identifier: Apache-2.0 */
/* explain, for other commands that tell what would become of a packet. */
#pragma once

#include "user/core/frame.h"
#include "user/ctl/ctl.h"

#include <jansson.h>

/* What explain -j prints of such a packet; NULL and it is told what is wrong. */
json_t *gs_ctl_explain(const struct gs_ctl *ctl, const struct gs_frame_spec *spec);

/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the service manager (sd_notify's datagram to NOTIFY_SOCKET); nothing where there is none.
 */
#pragma once

/* "READY=1", "STOPPING=1". Nothing is lost if it cannot be told. */
void gs_notify(const char *state);

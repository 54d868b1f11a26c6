/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a running daemon, read again: what can change does, what cannot is named. */
#pragma once

#include "anchors.h"
#include "check.h"
#include "handshakes.h"
#include "latencies.h"
#include "reconcile.h"

struct gs_reload {
	const struct gs_arguments *arguments;
	struct gs_config *config; /* in use; reloadable settings are written into it */
	struct gs_reconcile *reconcile;
	struct gs_handshakes *handshakes; /* NULL: none */
	struct gs_latencies *latencies;	  /* NULL: none */
	struct gs_anchors *anchors;	  /* NULL: none */
};

/*
 * Settings that do not stand are refused whole. The GeoIP file is read again in any case: it may
 * be another one under the same name.
 */
void gs_reload(struct gs_reload *reload);

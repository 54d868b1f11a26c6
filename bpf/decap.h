/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Why the decapsulator did what it did: index, verdict and text of gs_decap_count. */
#pragma once

#define GS_DECAP_REASONS(X)                                                                            \
	X(pass_other, PASS, "neither IPIP nor GUE")                                                    \
	X(pass_transit, PASS,                                                                          \
	  "a tunnel packet, but for another host, with options, in fragments, or with a UDP checksum") \
	X(pass_inner, PASS, "outer header taken off")                                                  \
	X(drop_truncated, DROP, "cut short")                                                           \
	X(drop_malformed, DROP, "headers contradict each other, or the outer checksum is wrong")       \
	X(drop_stranger, DROP, "sender is not in gs_decap_edges")                                      \
	X(drop_congested, DROP, "marked on the way, and the inner packet cannot say so (RFC 6040)")

#define GS_DECAP_ENUM(name, verdict, text) GS_DECAP_##name,
enum gs_decap_reason { GS_DECAP_REASONS(GS_DECAP_ENUM) GS_DECAP__COUNT };
#undef GS_DECAP_ENUM

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is there before it is needed. The first touch of a page costs the kernel some
 * microseconds, tens of them in a virtual machine: a megabyte of it in one callback keeps the loop
 * for longer than what is computed there.
 */
#pragma once

#include <stddef.h>

/* What the loop asks for at 2,000 backends, 50 regions and 100 services once it has begun. */
#define GS_HEAP_WARM_BYTES ((size_t)16 << 20)

/*
 * Touches so much of the main thread's heap once and for all: what malloc gives from there, and
 * gets back, stays the process's own. Blocks of some megabytes are still mapped, and unmapped when
 * freed. For the main thread, before others are busy. Without that much memory: as much as there
 * is.
 */
void gs_heap_warm(size_t bytes);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a long job on the worker is. The worker writes, the loop reads and may ask it to end:
 * words of their own each, without a lock. NULL is fine everywhere: nobody wants to know.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What putting a database in force takes, in this order. */
enum gs_phase {
	GS_PHASE_NONE,
	GS_PHASE_READING,   /* the file, into memory; bytes */
	GS_PHASE_LOCATING,  /* its tree; nodes */
	GS_PHASE_COMPILING, /* tables for packets; families */
	GS_PHASE_PLANNING,  /* plans of all locations */
	GS_PHASE_COMPARING, /* with what is in force; millionths of the addresses */
	GS_PHASE_UPLOADING, /* into the kernel */
	GS_PHASE__COUNT
};

/* Zeroed; the module's own. */
struct gs_progress {
	uint32_t phase_;
	uint32_t permille_; /* of all of it; never goes back */
	uint64_t done_, total_;
	uint64_t size_; /* of the file, bytes; 0: not known yet */
	bool is_cancelled_;
};

struct gs_progress_view {
	enum gs_phase phase;
	uint64_t done, total; /* of the phase, in its units; total 0: it has none */
	uint64_t size_bytes;
	uint32_t percent; /* of all of it, an estimate by what phases usually take */
	bool is_cancelled;
};

/* ---- the worker ---- */

void gs_progress_size(struct gs_progress *progress, uint64_t size_bytes);
void gs_progress_begin(struct gs_progress *progress, enum gs_phase phase, uint64_t total);
/* 0, or -ECANCELED: it should end. */
int gs_progress_at(struct gs_progress *progress, uint64_t done);

/* ---- the loop ---- */

/* Before the job begins. */
void gs_progress_reset(struct gs_progress *progress);
void gs_progress_cancel(struct gs_progress *progress);
void gs_progress_look(const struct gs_progress *progress, struct gs_progress_view *ret_view);
/* "reading", ...; "" of NONE. */
const char *gs_phase_name(enum gs_phase phase);

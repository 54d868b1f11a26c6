/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of pins: on a bpffs, one lock, and the rule that makes it safe to die at any moment.
 *
 * `meta` is pinned last, initialised. A folder with `meta` has every map; one without has
 * leftovers of a loader that died, which the next one removes. The program is pinned aside and
 * renamed. Whoever changes the folder holds its lock (flock of the folder itself).
 */
#pragma once

#include "loader/error.h"

#include <stdbool.h>
#include <stdint.h>

#define GS_PINS_DIR_MAX 256
#define GS_PINS_PATH_MAX (GS_PINS_DIR_MAX + 64)
#define GS_PINS_PROG_NEW \
	"prog-new" /* a program not yet in force; leftover if nobody has the lock */

struct gs_pins {
	char dir[GS_PINS_DIR_MAX];
	int lock_fd; /* owned; -1: not open */
	bool was_made;
};
#define GS_PINS_NONE ((struct gs_pins){.lock_fd = -1})

/* Every map that is pinned, `meta` last; ends with NULL. */
extern const char *const gs_pins_maps[];

/*
 * Opens and locks the folder `dir` (absolute); waits up to 10 s for another loader. With `make`
 * it is made, with its parents, and bpffs mounted on /sys/fs/bpf if nothing is there yet.
 *
 * 0; -ENOENT: it is not there (never with make); -EBUSY: locked; -EMEDIUMTYPE: no bpffs there;
 * -EINVAL: no absolute path, or too long; another -errno.
 */
int gs_pins_open(const char *dir, bool make, struct gs_pins *ret_pins,
		 struct gs_loader_error *error);
/* Unlocks; removes the folder again if gs_pins_open made it and nothing is in it. */
void gs_pins_close(struct gs_pins *pins);

bool gs_pins_is_bpffs(const char *path);
/*
 * Is this a private mount namespace, as `ip netns exec` makes one? A bpffs mounted there dies with
 * the command, and every pin in it, the link included: attached, and a moment later not.
 */
bool gs_pins_are_private(void);

/* dir/prefix+name. Always fits: names are of this program, or an interface's. */
void gs_pins_path(const struct gs_pins *pins, const char *prefix, const char *name,
		  char ret_path[GS_PINS_PATH_MAX]);
/* What a loader left that died before its program was in force. */
void gs_pins_abandon_prog(const struct gs_pins *pins);
bool gs_pins_has(const struct gs_pins *pins, const char *name);

/* Removes maps and program (not links), `meta` first. *ret_removed (may be NULL): how many. */
int gs_pins_clear(const struct gs_pins *pins, uint32_t *ret_removed, struct gs_loader_error *error);
/* The same, and the folder itself if that leaves it empty: nothing can be pinned in it any more. */
int gs_pins_purge(const struct gs_pins *pins, uint32_t *ret_removed, struct gs_loader_error *error);

/* Cleanup function for locals initialised with GS_PINS_NONE. */
#define GS_AUTO_PINS __attribute__((cleanup(gs_pins_close)))

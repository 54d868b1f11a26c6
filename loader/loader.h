/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF object, its maps and its program: found, sized, loaded, its maps pinned or taken over
 * from the pins, so that tables and flows survive every program.
 *
 *	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
 *	struct gs_loader *loader = NULL;
 *
 *	ret = gs_pins_open("/sys/fs/bpf/mine", true, &pins, &error);
 *	ret = gs_loader_open(&(struct gs_loader_options){.pins = &pins}, &loader, &error);
 *	... gs_loader_prog_fd(loader), gs_loader_map_fd(loader, GS_MAP_META) ...
 *	gs_loader_close(loader);	what is pinned stays
 */
#pragma once

#include "loader/error.h"
#include "loader/pins.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define GS_LOADER_PROGRAM "gs_xdp"
#define GS_LOADER_OBJECT "gs_xdp.bpf.o"
#define GS_FLOW_BUCKETS_MAX (1u << 24) /* 1 GB */

struct bpf_object;
struct gs_loader;

struct gs_loader_options {
	/* NULL: bpf/gs_xdp.bpf.o beside the running program, else GS_PREFIX/lib/geostream/bpf/ */
	const char *object_path;
	/* Open and locked. NULL: maps of its own, which die with it. */
	const struct gs_pins *pins;
	/* A power of two; 0: as pinned, GS_FLOW_BUCKETS_DEFAULT for new maps. */
	uint32_t flow_buckets;
	/* The same of NAT; GS_NAT_PLANES_DEFAULT, at most GS_NAT_PLANES_MAX. */
	uint32_t nat_planes;
	/* Not 0: program and maps are made for that NIC's own processor. */
	uint32_t offload_ifindex;
};

/*
 * Loads the program. If the pins hold maps, these are used: they must be complete, of this
 * GS_MAPS_VERSION and of the object's sizes. Otherwise maps are made, `meta` initialised (version,
 * secret table seed, flow and NAT mask), and all pinned, `meta` last.
 *
 * 0; -ENOENT: no object; -ESTALE: pinned maps of another layout or size, or incomplete; -EINVAL:
 * flow_buckets, nat_planes, or no object of ours; -EACCES: refused by the verifier; another -errno.
 * On failure the pins are as they were (leftovers apart, which are removed).
 */
int gs_loader_open(const struct gs_loader_options *options, struct gs_loader **ret_loader,
		   struct gs_loader_error *error);
/*
 * As above for libxdp, which loads by itself: maps taken over from the pins, which must be there,
 * nothing loaded yet. Only gs_loader_object may be asked of it.
 */
int gs_loader_open_unloaded(const struct gs_loader_options *options, struct gs_loader **ret_loader,
			    struct gs_loader_error *error);
void gs_loader_close(struct gs_loader *loader);

/* All owned by the loader. map_fd: -ENOENT if the object has no such map. */
struct bpf_object *gs_loader_object(const struct gs_loader *loader);
int gs_loader_prog_fd(const struct gs_loader *loader);
int gs_loader_map_fd(const struct gs_loader *loader, const char *name);
/* False: they were pinned before. */
bool gs_loader_made_maps(const struct gs_loader *loader);

/*
 * Pins the program aside (no packet sees it), then puts it in the place of the one pinned before:
 * begin before attaching, commit after, abandon if that failed. Needs options.pins.
 */
int gs_loader_pin_begin(const struct gs_loader *loader, struct gs_loader_error *error);
int gs_loader_pin_commit(const struct gs_loader *loader, struct gs_loader_error *error);
void gs_loader_pin_abandon(const struct gs_loader *loader);

/* Of the pinned `meta`: 0 or -ESTALE and why the maps there cannot be used. */
int gs_loader_check_version(const struct gs_pins *pins, struct gs_loader_error *error);

/* An object's file: as named, else in bpf/ beside the running program, else where it is installed.
 */
int gs_loader_find_object(const char *named, const char *file, char ret_path[PATH_MAX],
			  struct gs_loader_error *error);
/* The verifier's last word: the line before its statistics; "": none. Writes into `log`. */
const char *gs_loader_verdict(char *log);

static inline void gs_loader_close_ptr(struct gs_loader **loader)
{
	gs_loader_close(*loader);
}
#define GS_AUTO_LOADER __attribute__((cleanup(gs_loader_close_ptr)))

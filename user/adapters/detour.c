/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detour port: a device of our own, to which marked packets are routed and at whose egress a
 * program wraps them. The device lives as long as this process holds it, however that ends; rules
 * and routes to nowhere may stay behind, and are taken over by the next one.
 */
#include "detour.h"
#include "adapters.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/installed.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define OBJECT_FILE "gs_probe.bpf.o"
/* How old what is known may be: of the whole, of one backend's way. */
#define LOOK_US 1000000u
#define WAY_US 5000000u /* at least, and up to twice as much: not all at once */
#define SPREAD_US 7919000u
#define RETRY_US 5000000u
#define GIVEN_UP_US 60000000u /* what failed for want of rights will not come by itself */

/* What the kernel said of one backend. */
struct way {
	uint64_t due_us; /* when it is asked again; 0: it never was */
	struct gs_addr vip, backend, source;
	const char *why;  /* NULL: it is there */
	const char *told; /* to whom wanted to go last; NULL: there is a way */
	bool is_told;
};

struct detour {
	char pin_dir[GS_PATH_MAX];
	char object[PATH_MAX];
	struct gs_detour_plan plan;
	struct gs_detour_routes *routes;
	struct gs_detour_program *program;
	int device_fd;
	bool has_v4, has_v6;
	uint64_t look_us; /* when the whole is looked at again */
	char problem[GS_ERROR_MAX];
	struct way *ways; /* by backend */
};

/* ---- making it ------------------------------------------------------------------------------- */

static int open_device(struct detour *detour, struct gs_error *error)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	GS_AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int err;

	if (fd < 0)
		return gs_error_set(-errno, error, "/dev/net/tun: %s", strerror(errno));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", gs_detour_device);
	if (ioctl(fd, TUNSETIFF, &request)) {
		err = -errno;
		return gs_error_set(err, error, "cannot make device %s: %s", gs_detour_device,
				    err == -EBUSY ? "another process has it" : strerror(-err));
	}
	detour->plan.ifindex = if_nametoindex(gs_detour_device);
	if (!detour->plan.ifindex)
		return gs_error_set(-errno, error, "device %s: %s", gs_detour_device,
				    strerror(errno));
	detour->device_fd = gs_take_fd(fd);
	return 0;
}

/* Without it marked packets would go anywhere. */
static int check_mark(const struct detour *detour, struct gs_error *error)
{
	GS_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &detour->plan.mark, sizeof(detour->plan.mark)) == 0)
		return 0;
	return gs_error_set(-errno, error, "cannot mark sockets: %s", strerror(errno));
}

static int open_program(struct detour *detour, struct gs_error *error)
{
	return gs_detour_program_open(detour->pin_dir, detour->object, detour->plan.ifindex,
				      &detour->program, error);
}

/* Others tidy up, too: what is not theirs may be gone, and is added again. */
static int add_routes(struct detour *detour, struct gs_error *error)
{
	int err = gs_detour_routes_add(detour->routes, &detour->plan, true);
	detour->has_v4 = err == 0;
	detour->has_v6 = gs_detour_routes_add(detour->routes, &detour->plan, false) == 0;
	if (!detour->has_v4 && !detour->has_v6)
		return gs_error_set(err, error, "cannot add rules and routes for %s: %s",
				    gs_detour_device, strerror(-err));
	return 0;
}

static int start_device(struct detour *detour, struct gs_error *error)
{
	int err = gs_detour_device_up(detour->routes, &detour->plan);

	return err ? gs_error_set(err, error, "device %s: %s", gs_detour_device, strerror(-err))
		   : 0;
}

/* Everything there was goes, the program and its qdisc with the device. */
static void unmake(struct detour *detour)
{
	if (detour->has_v4)
		gs_detour_routes_remove(detour->routes, &detour->plan, true);
	if (detour->has_v6)
		gs_detour_routes_remove(detour->routes, &detour->plan, false);
	detour->has_v4 = detour->has_v6 = false;
	gs_detour_program_close(detour->program);
	detour->program = NULL;
	gs_detour_routes_close(detour->routes);
	detour->routes = NULL;
	gs_close_fd(&detour->device_fd);
	detour->device_fd = -1;
}

/* The program before the device is up: nothing ever leaves by it as it came. */
static int make(struct detour *detour, struct gs_error *error)
{
	int err = check_mark(detour, error);

	if (!err && gs_detour_routes_open(&detour->routes))
		err = gs_error_set(-ENOMEM, error, "cannot ask the kernel for routes");
	if (!err)
		err = open_device(detour, error);
	if (!err)
		err = open_program(detour, error);
	if (!err)
		err = start_device(detour, error);
	if (!err)
		err = add_routes(detour, error);
	if (err)
		unmake(detour);
	return err;
}

/* ---- keeping it ------------------------------------------------------------------------------ */

/* Is it the device we made? Whoever deletes it has its routes gone, too. */
static bool has_device(const struct detour *detour)
{
	return detour->device_fd >= 0 && if_nametoindex(gs_detour_device) == detour->plan.ifindex;
}

static int renew_program(struct detour *detour, struct gs_error *error)
{
	struct gs_detour_program *old = detour->program;
	int err;

	/* In its place, in one step; of the old maps nothing is right any more. */
	if (gs_detour_program_is_current(old))
		return 0;
	err = open_program(detour, error);
	if (!err)
		gs_detour_program_close(old);
	return err;
}

static void tell(struct detour *detour, const char *problem)
{
	if (strcmp(detour->problem, problem) == 0)
		return;
	snprintf(detour->problem, sizeof(detour->problem), "%s", problem);
	if (problem[0])
		gs_log(GS_LOG_WARNING, "probe_detour_away", "probes=%s why=%s", "direct", problem);
	else
		gs_log(GS_LOG_INFO, "probe_detour", "device=%s ipv4=%s ipv6=%s", gs_detour_device,
		       detour->has_v4 ? "yes" : "no", detour->has_v6 ? "yes" : "no");
}

static void look_after(struct detour *detour, uint64_t now_us)
{
	struct gs_error error = {""};
	int err = 0;

	if (now_us < detour->look_us)
		return;
	if (detour->program && !has_device(detour))
		unmake(detour);
	if (detour->program) {
		err = renew_program(detour, &error);
		if (!err)
			err = add_routes(detour, &error);
		if (err)
			unmake(detour);
	}
	if (!detour->program)
		err = make(detour, &error);
	detour->look_us = now_us + (err == -EPERM ? GIVEN_UP_US : err ? RETRY_US : LOOK_US);
	if (err || detour->problem[0])
		tell(detour, error.text);
}

/* ---- the port -------------------------------------------------------------------------------- */

static void ask(struct detour *detour, struct way *way, const struct gs_probe_target *target)
{
	const struct gs_detour_question question = {
		.vip = target->vip,
		.backend = target->addr,
		.mark = gs_detour_mark(target->backend),
		.ifindex = detour->plan.ifindex,
	};

	way->vip = target->vip;
	way->backend = target->addr;
	way->why = gs_detour_ask(detour->routes, &question, &way->source);
}

static bool is_known(const struct way *way, const struct gs_probe_target *target)
{
	return way->due_us > 0 && gs_addr_compare(&way->vip, &target->vip) == 0 &&
	       gs_addr_compare(&way->backend, &target->addr) == 0;
}

static const char *find(struct detour *detour, struct way *way,
			const struct gs_probe_target *target, uint64_t now_us)
{
	const char *why;

	if (gs_addr_is_v4(&target->vip) ? !detour->has_v4 : !detour->has_v6)
		return "this machine has not got the VIP's family";
	why = gs_detour_program_refuses(detour->program, target);
	if (why)
		return why;
	if (!is_known(way, target) || now_us >= way->due_us) {
		ask(detour, way, target);
		way->due_us = now_us +
			      (way->why ? LOOK_US : WAY_US + target->backend * SPREAD_US % WAY_US);
	}
	return way->why;
}

static const char *look(void *self, const struct gs_probe_target *target,
			struct gs_detour_way *ret_way)
{
	struct detour *detour = self;
	struct way *way = &detour->ways[target->backend];
	uint64_t now_us = 0;

	if (ret_way) {
		now_us = gs_now_us();
		look_after(detour, now_us);
	}
	if (!detour->program)
		return detour->problem;
	if (!ret_way)
		return way->is_told ? way->told : "it was not probed yet";
	way->told = find(detour, way, target, now_us);
	way->is_told = true;
	if (!way->told)
		*ret_way = (struct gs_detour_way){.mark = gs_detour_mark(target->backend),
						  .source = way->source};
	return way->told;
}

static uint32_t count(void *self, struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX])
{
	struct detour *detour = self;

	return detour->program ? gs_detour_program_count(detour->program, ret_counters) : 0;
}

static void close_detour(void *self)
{
	struct detour *detour = self;

	unmake(detour);
	free(detour->ways);
	free(detour);
}

int gs_detour_open(const char *pin_dir, const char *object, struct gs_detour *ret_detour)
{
	static const struct gs_detour_ops ops = {
		.look = look, .count = count, .close = close_detour};
	struct detour *detour = calloc(1, sizeof(*detour));

	if (!detour)
		return -ENOMEM;
	detour->device_fd = -1;
	detour->plan = gs_detour_program_plan();
	detour->ways = calloc(GS_ID_MAX_BACKEND + 1, sizeof(*detour->ways));
	if (!detour->ways) {
		free(detour);
		return -ENOMEM;
	}
	snprintf(detour->pin_dir, sizeof(detour->pin_dir), "%s", pin_dir);
	if (object)
		snprintf(detour->object, sizeof(detour->object), "%s", object);
	else
		gs_installed_bpf(OBJECT_FILE, detour->object);
	snprintf(detour->problem, sizeof(detour->problem), "it is not made yet");
	look_after(detour, gs_now_us());
	*ret_detour = (struct gs_detour){.ops = &ops, .self = detour};
	return 0;
}

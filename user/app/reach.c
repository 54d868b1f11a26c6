/* SPDX-License-Identifier: Apache-2.0 */
#include "reach.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A VIP on a link, and how often it is still to be told there. */
struct spot {
	uint32_t ifindex;
	struct gs_addr vip;
	uint8_t mac[6];
	uint32_t left;
};

struct gs_reach {
	struct gs_reach_ports ports;
	enum gs_announce announce;
	char drain_file[GS_PATH_MAX + 32];
	struct gs_reach_state state;
	struct gs_link_set set;			 /* of the last look */
	struct gs_link carriers[GS_LINKS_MAX];	 /* those of it with the program */
	struct gs_link bond_ports[GS_LINKS_MAX]; /* of bonds among those */
	uint32_t bond_port_count;
	bool has_vips;	      /* a snapshot has been in force */
	struct gs_addr *vips; /* all of the snapshot, each once */
	uint32_t vip_count;
	struct gs_addr *on_link; /* those of `vips` that are answered for */
	struct spot *spots;
	uint32_t spot_count;
	struct gs_timer timer;
};

/* ---- which VIPs, on which links -------------------------------------------------------------- */

static const struct gs_link *find_carrier(const struct gs_reach *reach, uint32_t ifindex)
{
	for (uint32_t i = 0; i < reach->state.carrier_count; i++)
		if (reach->carriers[i].ifindex == ifindex)
			return &reach->carriers[i];
	return NULL;
}

static void find_carriers(struct gs_reach *reach)
{
	const struct gs_dataplane *dataplane = reach->ports.dataplane;

	reach->state.carrier_count = reach->state.up_count = 0;
	for (uint32_t i = 0; i < reach->set.link_count; i++) {
		const struct gs_link *link = &reach->set.links[i];

		if (!dataplane->ops->carries(dataplane->self, link->ifindex))
			continue;
		reach->carriers[reach->state.carrier_count++] = *link;
		reach->state.up_count += link->is_up;
	}
}

/* A program on a bond runs on its ports. */
static void find_ports(struct gs_reach *reach)
{
	reach->bond_port_count = 0;
	for (uint32_t i = 0; i < reach->set.link_count; i++) {
		const struct gs_link *link = &reach->set.links[i];

		if (link->bond && find_carrier(reach, link->bond) &&
		    !find_carrier(reach, link->ifindex))
			reach->bond_ports[reach->bond_port_count++] = *link;
	}
}

/* The kernel answers for what is its own. */
static bool is_own(const struct gs_reach *reach, const struct gs_addr *vip)
{
	for (uint32_t i = 0; i < reach->set.addr_count; i++)
		if (gs_addr_compare(&reach->set.addrs[i].addr, vip) == 0)
			return true;
	return false;
}

static bool is_on_link(const struct gs_reach *reach, const struct gs_link *link,
		       const struct gs_addr *vip)
{
	static const uint8_t none[sizeof(link->mac)];

	if (!link->is_up || reach->announce == GS_ANNOUNCE_OFF ||
	    memcmp(link->mac, none, sizeof(none)) == 0)
		return false;
	if (reach->announce == GS_ANNOUNCE_ON)
		return true;
	for (uint32_t i = 0; i < reach->set.addr_count; i++) {
		const struct gs_link_addr *own = &reach->set.addrs[i];
		struct gs_prefix prefix = gs_prefix_make(&own->addr, own->length);

		if (own->ifindex == link->ifindex && prefix.is_v4 == gs_addr_is_v4(vip) &&
		    gs_prefix_contains(&prefix, vip))
			return true;
	}
	return false;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(const struct gs_reach *reach, struct spot *spot)
{
	const struct gs_announcer *announcer = reach->ports.announcer;
	const struct gs_link *link = find_carrier(reach, spot->ifindex);
	char text[GS_ADDR_TEXT_MAX];
	int err = link ? announcer->ops->announce(announcer->self, link, &spot->vip) : -ENODEV;

	spot->left--;
	if (err)
		gs_log_limited(GS_LOG_WARNING, "vip_not_announced", "vip=%s interface=%s why=%s",
			       gs_addr_format(&spot->vip, text), link ? link->name : "?",
			       strerror(-err));
}

static void on_timer(struct gs_timer *timer)
{
	struct gs_reach *reach = timer->context;
	bool more = false;

	for (uint32_t i = 0; i < reach->spot_count; i++) {
		if (reach->spots[i].left > 0)
			tell(reach, &reach->spots[i]);
		more = more || reach->spots[i].left > 0;
	}
	if (more)
		gs_loop_timer_set(reach->ports.loop, timer, GS_ANNOUNCE_EVERY_MS);
}

/* left of a spot that was there already, by the same MAC; else all of it. */
static uint32_t left_of(const struct gs_reach *reach, const struct spot *spot)
{
	for (uint32_t i = 0; i < reach->spot_count; i++) {
		const struct spot *before = &reach->spots[i];

		if (before->ifindex == spot->ifindex &&
		    memcmp(before->mac, spot->mac, sizeof(spot->mac)) == 0 &&
		    gs_addr_compare(&before->vip, &spot->vip) == 0)
			return before->left;
	}
	return GS_ANNOUNCE_TIMES;
}

/* ---- a look ---------------------------------------------------------------------------------- */

/* Spots and on-link VIPs of the links as they are. */
static int find_spots(struct gs_reach *reach, struct spot **ret_spots, uint32_t *ret_count)
{
	size_t room = (size_t)reach->vip_count * reach->state.carrier_count + 1;
	struct spot *spots = calloc(room, sizeof(*spots));
	uint32_t count = 0;

	if (!spots)
		return -ENOMEM;
	reach->state.vip_count = 0;
	for (uint32_t v = 0; v < reach->vip_count; v++) {
		uint32_t before = count;

		if (is_own(reach, &reach->vips[v]))
			continue;
		for (uint32_t i = 0; i < reach->state.carrier_count; i++) {
			const struct gs_link *link = &reach->carriers[i];
			struct spot *spot = &spots[count];

			if (!is_on_link(reach, link, &reach->vips[v]))
				continue;
			spot->ifindex = link->ifindex;
			spot->vip = reach->vips[v];
			memcpy(spot->mac, link->mac, sizeof(spot->mac));
			spot->left = reach->state.drain.is_drained ? 0 : left_of(reach, spot);
			count++;
		}
		if (count > before)
			reach->on_link[reach->state.vip_count++] = reach->vips[v];
	}
	*ret_spots = spots;
	*ret_count = count;
	return 0;
}

static int set_dataplane(struct gs_reach *reach, struct gs_error *error)
{
	const struct gs_dataplane *dataplane = reach->ports.dataplane;
	const struct gs_reach_set set = {
		.links = reach->carriers,
		.ports = reach->bond_ports,
		.vips = reach->on_link,
		.link_count = reach->state.carrier_count,
		.port_count = reach->bond_port_count,
		.vip_count = reach->state.vip_count,
		.is_silent = reach->state.drain.is_drained,
	};

	return dataplane->ops->set_reach(dataplane->self, &set, error);
}

static void take_spots(struct gs_reach *reach, struct spot *spots, uint32_t count)
{
	bool has_news = false;

	if (count != reach->spot_count)
		gs_log(GS_LOG_INFO, "vips_on_link", "vips=%u of=%u interfaces=%u drained=%s",
		       reach->state.vip_count, reach->vip_count, reach->state.carrier_count,
		       reach->state.drain.is_drained ? "yes" : "no");
	free(reach->spots);
	reach->spots = spots;
	reach->spot_count = count;
	for (uint32_t i = 0; i < count; i++)
		has_news = has_news || spots[i].left == GS_ANNOUNCE_TIMES;
	if (has_news)
		gs_loop_timer_set(reach->ports.loop, &reach->timer, 0);
}

static int look(struct gs_reach *reach, struct gs_error *error)
{
	const struct gs_announcer *announcer = reach->ports.announcer;
	struct spot *spots;
	uint32_t count;
	int result = announcer->ops->look(announcer->self, &reach->set);

	if (result) {
		snprintf(error->text, sizeof(error->text), "looking at the links: %s",
			 strerror(-result));
		return result;
	}
	find_carriers(reach);
	find_ports(reach);
	result = find_spots(reach, &spots, &count);
	if (result)
		return result;
	/* Answers first: who hears of the VIP may ask at once. */
	result = set_dataplane(reach, error);
	if (result)
		free(spots);
	else
		take_spots(reach, spots, count);
	return result;
}

void gs_reach_look(struct gs_reach *reach)
{
	struct gs_error error = {"out of memory"};

	if (!reach || !reach->has_vips)
		return;
	reach->state.problem[0] = '\0';
	if (look(reach, &error) == 0)
		return;
	memcpy(reach->state.problem, error.text, sizeof(reach->state.problem));
	gs_log_limited(GS_LOG_WARNING, "links_not_set", "why=%s", error.text);
}

static int compare_vips(const void *left, const void *right)
{
	return gs_addr_compare(left, right);
}

void gs_reach_follow(struct gs_reach *reach, const struct gs_snapshot *snapshot)
{
	struct gs_addr *vips, *on_link;
	uint32_t unique = 0;

	if (!reach)
		return;
	vips = calloc(snapshot->service_count + 1, sizeof(*vips));
	on_link = calloc(snapshot->service_count + 1, sizeof(*on_link));
	if (!vips || !on_link) {
		free(vips);
		free(on_link);
		gs_log_limited(GS_LOG_ERROR, "links_not_set", "why=%s", "out of memory");
		return;
	}
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		vips[i] = snapshot->services[i].vip;
	qsort(vips, snapshot->service_count, sizeof(*vips), compare_vips);
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		if (i == 0 || gs_addr_compare(&vips[i], &vips[unique - 1]) != 0)
			vips[unique++] = vips[i];
	free(reach->vips);
	free(reach->on_link);
	reach->vips = vips;
	reach->on_link = on_link;
	reach->vip_count = unique;
	reach->has_vips = true;
	gs_reach_look(reach);
}

/* ---- drain ----------------------------------------------------------------------------------- */

static int change_drain(struct gs_reach *reach, const struct gs_drain *drain,
			struct gs_error *error)
{
	bool was = reach->state.drain.is_drained;
	int result = gs_drain_save(reach->drain_file, drain, error);

	if (result)
		return result;
	reach->state.drain = *drain;
	for (uint32_t i = 0; i < reach->spot_count; i++)
		reach->spots[i].left = was && !drain->is_drained ? GS_ANNOUNCE_TIMES : 0;
	gs_reach_look(reach);
	return 0;
}

int gs_reach_drain(struct gs_reach *reach, const char *reason, struct gs_error *error)
{
	struct gs_drain drain = {.is_drained = true, .since_unix_s = time(NULL)};
	int result;

	if (reach->state.drain.is_drained)
		drain.since_unix_s = reach->state.drain.since_unix_s;
	snprintf(drain.reason, sizeof(drain.reason), "%s", reason);
	result = change_drain(reach, &drain, error);
	if (result == 0)
		gs_log(GS_LOG_WARNING, "edge_drained", "reason=%s", drain.reason);
	return result;
}

int gs_reach_resume(struct gs_reach *reach, struct gs_error *error)
{
	const struct gs_drain none = {.is_drained = false};
	int result;

	if (!reach->state.drain.is_drained)
		return 0;
	result = change_drain(reach, &none, error);
	if (result == 0)
		gs_log(GS_LOG_INFO, "edge_resumed", "vips=%u", reach->state.vip_count);
	return result;
}

/* ---- life ------------------------------------------------------------------------------------ */

int gs_reach_new(const struct gs_reach_ports *ports, enum gs_announce announce,
		 const char *drain_file, struct gs_reach **ret_reach)
{
	struct gs_reach *reach = calloc(1, sizeof(*reach));

	if (!reach)
		return -ENOMEM;
	reach->ports = *ports;
	reach->announce = announce;
	reach->timer = (struct gs_timer){.on_due = on_timer, .context = reach};
	snprintf(reach->drain_file, sizeof(reach->drain_file), "%s", drain_file);
	gs_drain_load(drain_file, &reach->state.drain);
	if (reach->state.drain.is_drained)
		gs_log(GS_LOG_WARNING, "edge_drained", "reason=%s since=before this start",
		       reach->state.drain.reason);
	*ret_reach = reach;
	return 0;
}

void gs_reach_free(struct gs_reach *reach)
{
	if (!reach)
		return;
	gs_loop_timer_clear(reach->ports.loop, &reach->timer);
	free(reach->vips);
	free(reach->on_link);
	free(reach->spots);
	free(reach);
}

const struct gs_reach_state *gs_reach_state(const struct gs_reach *reach)
{
	return &reach->state;
}

bool gs_reach_has(const struct gs_reach *reach, const struct gs_addr *vip)
{
	for (uint32_t i = 0; i < reach->state.vip_count; i++)
		if (gs_addr_compare(&reach->on_link[i], vip) == 0)
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an edge is reached: which VIPs it answers for on which links, when it tells them so, under
 * simulated time, and that a drain holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/reach.h"
#include "user/app/snapshot_io.h"
#include "user/core/announce.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum { ETH0 = 2, ETH1 = 3, OTHER = 4 };

struct scene {
	struct gs_loop *loop;
	struct fake_dataplane dataplane_fake;
	struct gs_dataplane dataplane;
	struct fake_announcer announcer_fake;
	struct gs_announcer announcer;
	struct gs_snapshot *snapshot;
	struct gs_reach *reach;
	char file[64];
};

static struct gs_addr addr(const char *text)
{
	struct gs_addr out;

	assert_int_equal(gs_addr_parse(text, &out), 0);
	return out;
}

static void add_link(struct scene *scene, uint32_t ifindex, const char *own, uint8_t length)
{
	struct gs_link_set *set = &scene->announcer_fake.set;
	struct gs_link *link = &set->links[set->link_count++];

	*link = (struct gs_link){
		.ifindex = ifindex, .mac = {2, 0, 0, 0, 0, (uint8_t)ifindex}, .is_up = true};
	set->addrs[set->addr_count++] =
		(struct gs_link_addr){.ifindex = ifindex, .addr = addr(own), .length = length};
}

static void open_reach(struct scene *scene, enum gs_announce announce)
{
	const struct gs_reach_ports ports = {scene->loop, &scene->dataplane, &scene->announcer};

	assert_int_equal(gs_reach_new(&ports, announce, scene->file, &scene->reach), 0);
}

/* The service of fake_snapshot at this VIP, on eth0 and eth1 (program) and another one (none). */
static struct scene *scene_new(const char *vip, enum gs_announce announce)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	scene->loop = calloc(1, sizeof(*scene->loop));
	assert_non_null(scene->loop);
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	fake_announcer_init(&scene->announcer_fake, &scene->announcer);
	scene->dataplane_fake.carriers = 1u << ETH0 | 1u << ETH1;
	add_link(scene, ETH0, "198.51.100.1", 24);
	add_link(scene, ETH1, "2001:db8:7::1", 64);
	add_link(scene, OTHER, "203.0.113.1", 24);
	scene->snapshot = fake_snapshot(1);
	scene->snapshot->services[0].vip = addr(vip);
	snprintf(scene->file, sizeof(scene->file), "/tmp/test_reach-%d", getpid());
	unlink(scene->file);
	open_reach(scene, announce);
	return scene;
}

static void scene_free(struct scene *scene)
{
	gs_reach_free(scene->reach);
	gs_snapshot_free(scene->snapshot);
	free(scene->loop);
	unlink(scene->file);
	free(scene);
}

/* ---- which ----------------------------------------------------------------------------------- */

static void vips_are_answered_for_where_they_are_on_link(void **state)
{
	static const struct {
		const char *vip;
		enum gs_announce announce;
		uint32_t on_link, told; /* told: frames in the first second */
	} rows[] = {
		{"198.51.100.10", GS_ANNOUNCE_AUTO, 1, 1},
		{"198.51.101.10", GS_ANNOUNCE_AUTO, 0, 0}, /* beside the prefix */
		{"2001:db8:7::10", GS_ANNOUNCE_AUTO, 1, 1},
		{"2001:db8:8::10", GS_ANNOUNCE_AUTO, 0, 0},
		{"203.0.113.10", GS_ANNOUNCE_AUTO, 0, 0}, /* a link without the program */
		{"198.51.100.1", GS_ANNOUNCE_AUTO, 0, 0}, /* the kernel's own */
		{"203.0.113.1", GS_ANNOUNCE_ON, 0, 0},	  /* the same, on another link */
		{"192.0.2.10", GS_ANNOUNCE_ON, 1, 2},	  /* on both links */
		{"198.51.100.10", GS_ANNOUNCE_OFF, 0, 0},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene *scene = scene_new(rows[i].vip, rows[i].announce);
		struct gs_addr vip = addr(rows[i].vip);

		gs_reach_look(scene->reach); /* nothing is known yet */
		assert_int_equal(scene->dataplane_fake.reach_sets, 0);
		gs_reach_follow(scene->reach, scene->snapshot);
		assert_int_equal(scene->dataplane_fake.reach_links, 2);
		assert_false(scene->dataplane_fake.reach_silent);
		assert_int_equal(scene->dataplane_fake.reach_vip_count, rows[i].on_link);
		assert_int_equal(gs_reach_has(scene->reach, &vip), rows[i].on_link);
		if (rows[i].on_link)
			assert_int_equal(
				gs_addr_compare(&scene->dataplane_fake.reach_vips[0], &vip), 0);
		run_for(scene->loop, 500);
		assert_int_equal(scene->announcer_fake.told_count, rows[i].told);
		scene_free(scene);
	}
}

/* Packets come in by the ports of a bond; of a bond without the program they are nobody's. */
static void ports_of_a_bond_are_told_of(void **state)
{
	static const struct {
		uint32_t bond;	   /* of link 5 */
		uint32_t carriers; /* besides eth0 and eth1 */
		uint32_t ports, links;
	} rows[] = {
		{0, 0, 0, 2},
		{ETH0, 0, 1, 2},
		{OTHER, 0, 0, 2},
		{ETH0, 1u << 5, 0, 3}, /* has a program of ours itself, from before */
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_ON);
		struct gs_link_set *set = &scene->announcer_fake.set;

		set->links[set->link_count++] = (struct gs_link){
			.ifindex = 5, .mac = {2}, .is_up = true, .bond = rows[i].bond};
		scene->dataplane_fake.carriers |= rows[i].carriers;
		gs_reach_follow(scene->reach, scene->snapshot);
		assert_int_equal(scene->dataplane_fake.reach_ports, rows[i].ports);
		assert_int_equal(scene->dataplane_fake.reach_links, rows[i].links);
		assert_int_equal(gs_reach_state(scene->reach)->carrier_count, rows[i].links);
		run_for(scene->loop, 500); /* told by the bond and not by its ports */
		assert_int_equal(scene->announcer_fake.told_count, rows[i].links);
		scene_free(scene);
	}
}

/* ---- when ------------------------------------------------------------------------------------ */

static uint32_t told_within(struct scene *scene, uint32_t ms)
{
	uint32_t before = scene->announcer_fake.told_count;

	run_for(scene->loop, ms);
	return scene->announcer_fake.told_count - before;
}

static void a_vip_is_told_three_times(void **state)
{
	struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_AUTO);
	(void)state;

	gs_reach_follow(scene->reach, scene->snapshot);
	assert_int_equal(told_within(scene, 900), 1);
	assert_int_equal(told_within(scene, 1000), 1);
	assert_int_equal(scene->announcer_fake.told[0].ifindex, ETH0);
	gs_reach_look(scene->reach); /* nothing new: no more than three */
	assert_int_equal(told_within(scene, 1000), 1);
	assert_int_equal(told_within(scene, 10000), 0);
	gs_reach_follow(scene->reach, scene->snapshot);
	assert_int_equal(told_within(scene, 10000), 0);
	scene_free(scene);
}

static void a_link_that_returns_is_told_again(void **state)
{
	struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_AUTO);
	struct gs_link *link = &scene->announcer_fake.set.links[0];
	(void)state;

	gs_reach_follow(scene->reach, scene->snapshot);
	assert_int_equal(told_within(scene, 5000), 3);
	link->is_up = false;
	gs_reach_look(scene->reach);
	assert_int_equal(scene->dataplane_fake.reach_vip_count, 0);
	assert_int_equal(told_within(scene, 5000), 0);
	link->is_up = true;
	gs_reach_look(scene->reach);
	assert_int_equal(told_within(scene, 5000), 3);
	link->mac[5] = 0x77; /* as when a bond changes its port */
	gs_reach_look(scene->reach);
	assert_int_equal(told_within(scene, 5000), 3);
	scene_free(scene);
}

static void a_send_that_fails_is_not_repeated_for_ever(void **state)
{
	struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_AUTO);
	(void)state;

	scene->announcer_fake.error = -EPERM;
	gs_reach_follow(scene->reach, scene->snapshot);
	assert_int_equal(told_within(scene, 20000), 3);
	assert_int_equal(scene->dataplane_fake.reach_vip_count, 1); /* answered for all the same */
	scene_free(scene);
}

/* ---- drain ----------------------------------------------------------------------------------- */

static void a_drained_edge_is_silent_until_it_resumes(void **state)
{
	struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_AUTO);
	struct gs_error error;
	(void)state;

	gs_reach_follow(scene->reach, scene->snapshot);
	assert_int_equal(told_within(scene, 500), 1);
	assert_int_equal(gs_reach_drain(scene->reach, "new kernel", &error), 0);
	assert_true(scene->dataplane_fake.reach_silent);
	assert_int_equal(told_within(scene, 20000), 0); /* not the two that were left either */
	gs_reach_look(scene->reach);
	assert_int_equal(told_within(scene, 20000), 0);

	gs_reach_free(scene->reach); /* a restart */
	open_reach(scene, GS_ANNOUNCE_AUTO);
	assert_true(gs_reach_state(scene->reach)->drain.is_drained);
	assert_string_equal(gs_reach_state(scene->reach)->drain.reason, "new kernel");
	gs_reach_follow(scene->reach, scene->snapshot);
	assert_true(scene->dataplane_fake.reach_silent);
	assert_int_equal(told_within(scene, 20000), 0);

	assert_int_equal(gs_reach_resume(scene->reach, &error), 0);
	assert_false(scene->dataplane_fake.reach_silent);
	assert_int_equal(told_within(scene, 20000), 3);
	assert_int_equal(gs_reach_resume(scene->reach, &error), 0); /* no news */
	assert_int_equal(told_within(scene, 20000), 0);
	gs_reach_free(scene->reach);
	open_reach(scene, GS_ANNOUNCE_AUTO);
	assert_false(gs_reach_state(scene->reach)->drain.is_drained);
	scene_free(scene);
}

static void a_drain_that_cannot_be_kept_is_refused(void **state)
{
	struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_AUTO);
	struct gs_error error;
	(void)state;

	gs_reach_free(scene->reach);
	snprintf(scene->file, sizeof(scene->file), "/nonexistent/drained");
	open_reach(scene, GS_ANNOUNCE_AUTO);
	gs_reach_follow(scene->reach, scene->snapshot);
	assert_int_equal(gs_reach_drain(scene->reach, "", &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nonexistent/drained"));
	assert_false(gs_reach_state(scene->reach)->drain.is_drained);
	assert_false(scene->dataplane_fake.reach_silent);
	scene_free(scene);
}

/* A file that is there but says nothing: who made it meant something by it. */
static void a_broken_file_means_drained(void **state)
{
	struct scene *scene = scene_new("198.51.100.10", GS_ANNOUNCE_AUTO);
	FILE *file = fopen(scene->file, "we");
	(void)state;

	assert_non_null(file);
	fclose(file);
	gs_reach_free(scene->reach);
	open_reach(scene, GS_ANNOUNCE_AUTO);
	assert_true(gs_reach_state(scene->reach)->drain.is_drained);
	assert_non_null(strstr(gs_reach_state(scene->reach)->drain.reason, "cannot be read"));
	scene_free(scene);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void announcements_are_as_the_rfcs_have_them(void **state)
{
	static const uint8_t mac[6] = {2, 0xed, 0x9e, 0, 0, 1};
	static const uint8_t arp[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,   0xed, 0x9e, 0,  0,
				      1,    8,	  6,	0,    1,    8,	  0,   6,    4,	   0,  1,
				      2,    0xed, 0x9e, 0,    0,    1,	  198, 51,   100,  10, 0,
				      0,    0,	  0,	0,    0,    198,  51,  100,  10};
	uint8_t frame[GS_ANNOUNCE_BYTES];
	struct gs_addr vip = addr("198.51.100.10");
	uint32_t sum = 32 + 58;
	(void)state;

	assert_int_equal(gs_announce_frame(&vip, mac, frame), sizeof(arp));
	assert_memory_equal(frame, arp, sizeof(arp));
	vip = addr("2001:db8:100::10");
	assert_int_equal(gs_announce_frame(&vip, mac, frame), GS_ANNOUNCE_BYTES);
	assert_memory_equal(frame, "\x33\x33\0\0\0\1", 6);
	assert_int_equal(frame[14 + 7], 255);
	assert_memory_equal(frame + 14 + 8, vip.bytes, 16);
	assert_int_equal(frame[54], 136);
	assert_int_equal(frame[58], 0x20);
	assert_memory_equal(frame + 62, vip.bytes, 16);
	assert_memory_equal(frame + 78, "\2\1", 2);
	assert_memory_equal(frame + 80, mac, 6);
	for (unsigned i = 22; i < GS_ANNOUNCE_BYTES; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vips_are_answered_for_where_they_are_on_link),
		cmocka_unit_test(ports_of_a_bond_are_told_of),
		cmocka_unit_test(a_vip_is_told_three_times),
		cmocka_unit_test(a_link_that_returns_is_told_again),
		cmocka_unit_test(a_send_that_fails_is_not_repeated_for_ever),
		cmocka_unit_test(a_drained_edge_is_silent_until_it_resumes),
		cmocka_unit_test(a_drain_that_cannot_be_kept_is_refused),
		cmocka_unit_test(a_broken_file_means_drained),
		cmocka_unit_test(announcements_are_as_the_rfcs_have_them),
	};

	return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}

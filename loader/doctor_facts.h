/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What doctor.h judges, gathered from procfs, ethtool's ioctls, netlink and libbpf: never from
 * /sys/class/net, which is another network namespace's under nsenter. Changes nothing.
 */
#pragma once

#include "loader/doctor.h"

/* "192.0.2.1", "2001:db8::1" into vip->text and family. -EINVAL. */
int gs_doctor_parse_vip(const char *text, struct gs_doctor_vip *ret_vip);
/*
 * facts: is_backend, vip_count, vips' texts and families are given, the rest is filled in. What
 * cannot be found out stays unknown: this never fails. pin_dir tells our own programs.
 */
void gs_doctor_gather(const char *interface, const char *pin_dir, const char *decap_pin_dir,
		      struct gs_doctor_facts *facts);

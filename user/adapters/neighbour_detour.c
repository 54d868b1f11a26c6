/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules, routes and the device's attributes over rtnetlink, and what the kernel would do with a
 * probe and with its answer. Each is one message and one answer, as in neighbour_ask.c.
 */
#include "detour.h"
#include "neighbour.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { MESSAGE_BYTES = 1024 };

/* Behind every other one: only without the device. */
#define LAST_METRIC 0xffffff00u

struct gs_detour_routes {
	struct gs_neighbour_asker asker;
};

int gs_detour_routes_open(struct gs_detour_routes **ret_routes)
{
	GS_AUTO_FREE struct gs_detour_routes *routes = calloc(1, sizeof(*routes));
	int err;

	if (!routes)
		return -ENOMEM;
	err = gs_neighbour_asker_open(NETLINK_ROUTE, &routes->asker);
	if (err)
		return err;
	*ret_routes = gs_take_ptr(routes);
	return 0;
}

void gs_detour_routes_close(struct gs_detour_routes *routes)
{
	if (routes)
		gs_neighbour_asker_close(&routes->asker);
	free(routes);
}

/* ---- the device ------------------------------------------------------------------------------ */

static struct nlmsghdr *put_link(char *buffer, uint32_t ifindex, uint32_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *body;

	message->nlmsg_type = RTM_NEWLINK;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	body = mnl_nlmsg_put_extra_header(message, sizeof(*body));
	body->ifi_index = (int)ifindex;
	body->ifi_flags = flags;
	body->ifi_change = flags;
	return message;
}

int gs_detour_device_up(struct gs_detour_routes *routes, const struct gs_detour_plan *plan)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *message = put_link(buffer, plan->ifindex, IFF_NOARP);
	struct nlattr *families, *inet6;
	int err;

	mnl_attr_put_u32(message, IFLA_MTU, plan->mtu);
	mnl_attr_put_u32(message, IFLA_GSO_MAX_SEGS, 1);
	err = gs_neighbour_ask(&routes->asker, message, NULL);
	if (err)
		return err;
	/* Without IPv6 there is nothing to be set. */
	message = put_link(buffer, plan->ifindex, 0);
	families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(message, AF_INET6);
	mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(message, inet6);
	mnl_attr_nest_end(message, families);
	gs_neighbour_ask(&routes->asker, message, NULL);
	return gs_neighbour_ask(&routes->asker, put_link(buffer, plan->ifindex, IFF_UP), NULL);
}

/* ---- rules and routes ------------------------------------------------------------------------ */

static int rule_do(struct gs_detour_routes *routes, const struct gs_detour_plan *plan, bool is_v4,
		   bool is_added)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct fib_rule_hdr *body;

	message->nlmsg_type = is_added ? RTM_NEWRULE : RTM_DELRULE;
	message->nlmsg_flags =
		NLM_F_REQUEST | NLM_F_ACK | (is_added ? NLM_F_CREATE | NLM_F_EXCL : 0);
	body = mnl_nlmsg_put_extra_header(message, sizeof(*body));
	body->family = is_v4 ? AF_INET : AF_INET6;
	body->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(message, FRA_TABLE, plan->table);
	mnl_attr_put_u32(message, FRA_PRIORITY, plan->priority);
	mnl_attr_put_u32(message, FRA_FWMARK, plan->mark);
	mnl_attr_put_u32(message, FRA_FWMASK, plan->mask);
	return gs_neighbour_ask(&routes->asker, message, NULL);
}

/* To everywhere; ifindex 0: to nowhere. */
static int route_do(struct gs_detour_routes *routes, const struct gs_detour_plan *plan, bool is_v4,
		    uint32_t ifindex, bool is_added)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtmsg *body;

	message->nlmsg_type = is_added ? RTM_NEWROUTE : RTM_DELROUTE;
	message->nlmsg_flags =
		NLM_F_REQUEST | NLM_F_ACK | (is_added ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	body = mnl_nlmsg_put_extra_header(message, sizeof(*body));
	body->rtm_family = is_v4 ? AF_INET : AF_INET6;
	body->rtm_protocol = RTPROT_STATIC;
	body->rtm_type = ifindex ? RTN_UNICAST : RTN_UNREACHABLE;
	body->rtm_scope = is_v4 && ifindex ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	mnl_attr_put_u32(message, RTA_TABLE, plan->table);
	if (ifindex)
		mnl_attr_put_u32(message, RTA_OIF, ifindex);
	else
		mnl_attr_put_u32(message, RTA_PRIORITY, LAST_METRIC);
	return gs_neighbour_ask(&routes->asker, message, NULL);
}

int gs_detour_routes_add(struct gs_detour_routes *routes, const struct gs_detour_plan *plan,
			 bool is_v4)
{
	/* Nowhere first: from the rule on no probe may leave as it is. */
	int err = route_do(routes, plan, is_v4, 0, true);

	if (!err)
		err = route_do(routes, plan, is_v4, plan->ifindex, true);
	if (!err)
		err = rule_do(routes, plan, is_v4, true);
	return err == -EEXIST ? 0 : err;
}

void gs_detour_routes_remove(struct gs_detour_routes *routes, const struct gs_detour_plan *plan,
			     bool is_v4)
{
	while (rule_do(routes, plan, is_v4, false) == 0)
		;
	route_do(routes, plan, is_v4, plan->ifindex, false);
	route_do(routes, plan, is_v4, 0, false);
}

/* ---- questions ------------------------------------------------------------------------------- */

struct look_up {
	const struct gs_addr *from, *to;
	uint32_t mark;
	uint32_t in_ifindex; /* of a packet that comes in; 0: it is ours */
};

static void put_addr(struct nlmsghdr *message, uint16_t attribute, const struct gs_addr *addr)
{
	if (gs_addr_is_v4(addr))
		mnl_attr_put(message, attribute, 4, &addr->bytes[12]);
	else
		mnl_attr_put(message, attribute, 16, addr->bytes);
}

static int look_up(struct gs_detour_routes *routes, const struct look_up *what, uint8_t *ret_type,
		   uint32_t *ret_ifindex)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	const struct nlmsghdr *answer = NULL;
	const struct nlattr *attribute;
	bool is_v4 = gs_addr_is_v4(what->to);
	struct rtmsg *body;
	int err;

	message->nlmsg_type = RTM_GETROUTE;
	message->nlmsg_flags = NLM_F_REQUEST;
	body = mnl_nlmsg_put_extra_header(message, sizeof(*body));
	body->rtm_family = is_v4 ? AF_INET : AF_INET6;
	body->rtm_dst_len = is_v4 ? 32 : 128;
	body->rtm_src_len = body->rtm_dst_len;
	put_addr(message, RTA_DST, what->to);
	put_addr(message, RTA_SRC, what->from);
	mnl_attr_put_u32(message, RTA_MARK, what->mark);
	if (what->in_ifindex)
		mnl_attr_put_u32(message, RTA_IIF, what->in_ifindex);
	err = gs_neighbour_ask(&routes->asker, message, &answer);
	if (err)
		return err;
	if (!answer || answer->nlmsg_type != RTM_NEWROUTE ||
	    mnl_nlmsg_get_payload_len(answer) < sizeof(*body))
		return -EPROTO;
	*ret_type = ((const struct rtmsg *)mnl_nlmsg_get_payload(answer))->rtm_type;
	*ret_ifindex = 0;
	mnl_attr_for_each(attribute, answer, sizeof(*body))
	{
		if (mnl_attr_get_type(attribute) == RTA_OIF)
			*ret_ifindex = mnl_attr_get_u32(attribute);
	}
	return 0;
}

/* The address this machine has for whom it is answered by. */
static const char *find_source(struct gs_detour_routes *routes,
			       const struct gs_detour_question *question,
			       struct gs_addr *ret_source, uint32_t *ret_ifindex)
{
	struct gs_neighbour_route to_backend, to_vip;

	if (gs_neighbour_ask_route(&routes->asker, &question->backend, &to_backend) ||
	    to_backend.type != RTN_UNICAST)
		return "the kernel has no route to the backend";
	*ret_ifindex = to_backend.ifindex;
	if (gs_addr_is_v4(&question->vip) == gs_addr_is_v4(&question->backend)) {
		*ret_source = to_backend.source;
		return to_backend.has_source ? NULL : "no address of this machine to ask from";
	}
	if (gs_neighbour_ask_route(&routes->asker, &question->vip, &to_vip) ||
	    to_vip.type != RTN_UNICAST || !to_vip.has_source)
		return "no address of the VIP's family to ask from";
	*ret_source = to_vip.source;
	return NULL;
}

/* Does the kernel take an answer from the VIP, where the backend's packets come in? */
static const char *judge_answer(struct gs_detour_routes *routes,
				const struct gs_detour_question *question,
				const struct gs_addr *source, uint32_t ifindex)
{
	const struct look_up answer = {.from = &question->vip, .to = source, .in_ifindex = ifindex};
	uint32_t out;
	uint8_t type = 0;

	if (!gs_addr_is_v4(source)) /* IPv6 has no such filter */
		return NULL;
	/* Newer kernels do not tell why. */
	if (look_up(routes, &answer, &type, &out) || type != RTN_LOCAL)
		return "the kernel would refuse answers from the VIP (rp_filter of their link?)";
	return NULL;
}

const char *gs_detour_ask(struct gs_detour_routes *routes,
			  const struct gs_detour_question *question, struct gs_addr *ret_source)
{
	struct gs_addr source;
	const struct look_up probe = {
		.from = &source, .to = &question->vip, .mark = question->mark};
	uint32_t ifindex = 0, out = 0;
	const char *why = find_source(routes, question, &source, &ifindex);
	uint8_t type = 0;

	if (why)
		return why;
	if (look_up(routes, &probe, &type, &out))
		return "the kernel does not route probes to the device";
	if (type == RTN_LOCAL)
		return "the VIP is an address of this machine";
	if (out != question->ifindex)
		return "another rule routes probes elsewhere";
	why = judge_answer(routes, question, &source, ifindex);
	if (!why)
		*ret_source = source;
	return why;
}

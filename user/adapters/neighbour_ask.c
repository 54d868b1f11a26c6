/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the kernel of this network namespace: route, link and neighbour over rtnetlink, a
 * driver's abilities over the generic netlink family "netdev". Each is one message and one answer
 * from the kernel itself, so waiting for it does not block the loop; a time limit guards against
 * the unforeseen.
 */
#include "neighbour.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { ANSWER_LIMIT_MS = 200, MESSAGE_BYTES = 1024, ANSWER_BYTES = 32768 };

#ifndef NTF_EXT_MANAGED
#define NTF_EXT_MANAGED 1
#endif
#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP (1 << 16)
#endif

/* linux/netdev.h (6.3) */
enum { DEV_GET = 1, DEV_IFINDEX = 1, DEV_XDP_FEATURES = 3, XDP_NDO_XMIT = 1 << 2 };

int gs_neighbour_asker_open(int protocol, struct gs_neighbour_asker *ret_asker)
{
	struct timeval limit = {.tv_usec = ANSWER_LIMIT_MS * 1000L};
	struct gs_neighbour_asker asker = {.answer = malloc(ANSWER_BYTES)};
	int err = 0;

	if (!asker.answer)
		return -ENOMEM;
	asker.socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!asker.socket || mnl_socket_bind(asker.socket, 0, MNL_SOCKET_AUTOPID) ||
	    setsockopt(mnl_socket_get_fd(asker.socket), SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof(limit)))
		err = -errno;
	if (err) {
		gs_neighbour_asker_close(&asker);
		return err;
	}
	*ret_asker = asker;
	return 0;
}

void gs_neighbour_asker_close(struct gs_neighbour_asker *asker)
{
	if (asker->socket)
		mnl_socket_close(asker->socket);
	free(asker->answer);
	*asker = (struct gs_neighbour_asker){0};
}

/* ---- one question, one answer ---------------------------------------------------------------- */

static uint8_t family_of(const struct gs_addr *addr)
{
	return gs_addr_is_v4(addr) ? AF_INET : AF_INET6;
}

static void put_addr(struct nlmsghdr *message, uint16_t attribute, const struct gs_addr *addr)
{
	if (gs_addr_is_v4(addr))
		mnl_attr_put(message, attribute, 4, &addr->bytes[12]);
	else
		mnl_attr_put(message, attribute, 16, addr->bytes);
}

/* 4 or 16 bytes; anything else leaves *ret_addr alone. */
static bool get_addr(const struct nlattr *attribute, struct gs_addr *ret_addr)
{
	const uint8_t *bytes = mnl_attr_get_payload(attribute);
	struct gs_addr addr = {.bytes = {[10] = 0xff, [11] = 0xff}};

	if (mnl_attr_get_payload_len(attribute) == 4)
		memcpy(&addr.bytes[12], bytes, 4);
	else if (mnl_attr_get_payload_len(attribute) == 16)
		memcpy(addr.bytes, bytes, 16);
	else
		return false;
	*ret_addr = addr;
	return true;
}

/* The message of this sequence number in what was received; NULL: not among it. */
static const struct nlmsghdr *find_answer(const char *received, int bytes, uint32_t sequence)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)received;

	for (; mnl_nlmsg_ok(message, bytes); message = mnl_nlmsg_next(message, &bytes))
		if (message->nlmsg_seq == sequence)
			return message;
	return NULL;
}

int gs_neighbour_ask(struct gs_neighbour_asker *asker, struct nlmsghdr *question,
		     const struct nlmsghdr **ret_answer)
{
	const struct nlmsghdr *answer = NULL;

	question->nlmsg_seq = ++asker->sequence;
	if (mnl_socket_sendto(asker->socket, question, question->nlmsg_len) < 0)
		return -errno;
	while (!answer) { /* late answers to earlier questions are thrown away */
		ssize_t bytes = mnl_socket_recvfrom(asker->socket, asker->answer, ANSWER_BYTES);

		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes <= 0)
			return bytes ? -errno : -EPROTO;
		answer = find_answer(asker->answer, (int)bytes, asker->sequence);
	}
	if (answer->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);

		if (mnl_nlmsg_get_payload_len(answer) < sizeof(*error))
			return -EPROTO;
		if (error->error || ret_answer)
			return error->error ? error->error : -EPROTO;
		return 0;
	}
	if (ret_answer)
		*ret_answer = answer;
	return 0;
}

/* ---- route ----------------------------------------------------------------------------------- */

static void read_metrics(const struct nlattr *metrics, struct gs_neighbour_route *route)
{
	const struct nlattr *metric;

	mnl_attr_for_each_nested(metric,
				 metrics) if (mnl_attr_get_type(metric) == RTAX_MTU &&
					      mnl_attr_get_payload_len(metric) == sizeof(uint32_t))
		route->mtu = mnl_attr_get_u32(metric);
}

/* A gateway of the other family: struct rtvia, whose address has no length of its own. */
static void read_via(const struct nlattr *attribute, struct gs_addr *ret_addr)
{
	const struct rtvia *via = mnl_attr_get_payload(attribute);
	uint16_t bytes = mnl_attr_get_payload_len(attribute);
	struct gs_addr addr = {.bytes = {[10] = 0xff, [11] = 0xff}};

	if (bytes == sizeof(*via) + 16 && via->rtvia_family == AF_INET6)
		memcpy(addr.bytes, via->rtvia_addr, 16);
	else if (bytes == sizeof(*via) + 4 && via->rtvia_family == AF_INET)
		memcpy(&addr.bytes[12], via->rtvia_addr, 4);
	else
		return;
	*ret_addr = addr;
}

int gs_neighbour_ask_route(struct gs_neighbour_asker *asker, const struct gs_addr *addr,
			   struct gs_neighbour_route *ret_route)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct rtmsg *message;
	const struct nlmsghdr *answer = NULL;
	const struct nlattr *attribute;
	struct gs_neighbour_route route = {.via = *addr};
	int result;

	question->nlmsg_type = RTM_GETROUTE;
	question->nlmsg_flags = NLM_F_REQUEST;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->rtm_family = family_of(addr);
	message->rtm_dst_len = gs_addr_is_v4(addr) ? 32 : 128;
	put_addr(question, RTA_DST, addr);
	result = gs_neighbour_ask(asker, question, &answer);
	if (result)
		return result;
	if (!answer || answer->nlmsg_type != RTM_NEWROUTE)
		return -EPROTO;
	route.type = ((const struct rtmsg *)mnl_nlmsg_get_payload(answer))->rtm_type;
	mnl_attr_for_each(attribute, answer, sizeof(*message))
	{
		switch (mnl_attr_get_type(attribute)) {
		case RTA_OIF:
			route.ifindex = mnl_attr_get_u32(attribute);
			break;
		case RTA_GATEWAY:
			get_addr(attribute, &route.via);
			break;
		case RTA_VIA:
			read_via(attribute, &route.via);
			break;
		case RTA_PREFSRC:
			route.has_source = get_addr(attribute, &route.source);
			break;
		case RTA_METRICS:
			read_metrics(attribute, &route);
			break;
		default:
			break;
		}
	}
	*ret_route = route;
	return 0;
}

/* ---- link ------------------------------------------------------------------------------------ */

static bool read_has_program(const struct nlattr *xdp)
{
	const struct nlattr *attribute;
	bool has = false;

	mnl_attr_for_each_nested(attribute, xdp)
	{
		if (mnl_attr_get_type(attribute) == IFLA_XDP_ATTACHED)
			has = mnl_attr_get_u8(attribute) != XDP_ATTACHED_NONE;
	}
	return has;
}

/* What priority 0 becomes on the way out. */
static uint16_t read_priority(const struct nlattr *map)
{
	const struct nlattr *attribute;
	uint16_t priority = 0;

	mnl_attr_for_each_nested(attribute, map)
	{
		const struct ifla_vlan_qos_mapping *rule = mnl_attr_get_payload(attribute);

		if (mnl_attr_get_type(attribute) == IFLA_VLAN_QOS_MAPPING &&
		    mnl_attr_get_payload_len(attribute) >= sizeof(*rule) && rule->from == 0)
			priority = (uint16_t)(rule->to & 7);
	}
	return priority;
}

static void read_vlan(const struct nlattr *data, struct gs_vlan *vlan)
{
	const struct nlattr *attribute;
	uint16_t vid = 0, priority = 0;

	vlan->protocol = ETH_P_8021Q;
	mnl_attr_for_each_nested(attribute, data)
	{
		if (mnl_attr_get_type(attribute) == IFLA_VLAN_ID)
			vid = mnl_attr_get_u16(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_VLAN_PROTOCOL)
			vlan->protocol = ntohs(mnl_attr_get_u16(attribute));
		if (mnl_attr_get_type(attribute) == IFLA_VLAN_EGRESS_QOS)
			priority = read_priority(attribute);
	}
	vlan->tci = (uint16_t)(priority << 13 | (vid & 0xfff));
}

/* Whether it is a VLAN. */
static bool read_kind(const struct nlattr *info, struct gs_neighbour_link *link)
{
	const struct nlattr *attribute, *data = NULL;
	const char *kind = "";

	mnl_attr_for_each_nested(attribute, info)
	{
		if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND &&
		    mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
			kind = mnl_attr_get_str(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_INFO_DATA)
			data = attribute;
	}
	link->is_bond = strcmp(kind, "bond") == 0;
	if (strcmp(kind, "vlan") != 0 || !data)
		return false;
	read_vlan(data, &link->vlan);
	return true;
}

struct gs_neighbour_link gs_neighbour_read_link(const struct nlmsghdr *message)
{
	const unsigned int up = IFF_UP | IFF_LOWER_UP;
	const struct ifinfomsg *body = mnl_nlmsg_get_payload(message);
	struct gs_neighbour_link link = {.is_up = (body->ifi_flags & up) == up};
	const struct nlattr *attribute;
	bool is_vlan = false, is_elsewhere = false;

	mnl_attr_for_each(attribute, message, sizeof(*body))
	{
		if (mnl_attr_get_type(attribute) == IFLA_MTU)
			link.mtu = mnl_attr_get_u32(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_XDP)
			link.has_program = read_has_program(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_LINK)
			link.below = mnl_attr_get_u32(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_LINK_NETNSID)
			is_elsewhere = true;
		if (mnl_attr_get_type(attribute) == IFLA_LINKINFO)
			is_vlan = read_kind(attribute, &link);
		if (mnl_attr_get_type(attribute) == IFLA_ADDRESS &&
		    mnl_attr_get_payload_len(attribute) == sizeof(link.mac)) {
			memcpy(link.mac, mnl_attr_get_payload(attribute), sizeof(link.mac));
			link.is_ethernet =
				body->ifi_type == ARPHRD_ETHER && !(body->ifi_flags & IFF_NOARP);
		}
	}
	/* A veth names its other end, a VLAN moved to this namespace a link of another one. */
	if (!is_vlan || is_elsewhere)
		link.below = 0;
	if (is_vlan && is_elsewhere)
		link.is_ethernet = false;
	return link;
}

int gs_neighbour_ask_link(struct gs_neighbour_asker *asker, uint32_t ifindex,
			  struct gs_neighbour_link *ret_link)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *message;
	const struct nlmsghdr *answer = NULL;
	int result;

	question->nlmsg_type = RTM_GETLINK;
	question->nlmsg_flags = NLM_F_REQUEST;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->ifi_index = (int)ifindex;
	mnl_attr_put_u32(question, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	result = gs_neighbour_ask(asker, question, &answer);
	if (result)
		return result;
	if (!answer || answer->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(answer) < sizeof(*message))
		return -EPROTO;
	*ret_link = gs_neighbour_read_link(answer);
	return 0;
}

/* ---- neighbour ------------------------------------------------------------------------------- */

static struct nlmsghdr *put_neighbour(char *buffer, uint16_t type, uint16_t flags, uint32_t ifindex,
				      const struct gs_addr *via)
{
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct ndmsg *message;

	question->nlmsg_type = type;
	question->nlmsg_flags = NLM_F_REQUEST | flags;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->ndm_family = family_of(via);
	message->ndm_ifindex = (int)ifindex;
	message->ndm_flags = type == RTM_NEWNEIGH ? NTF_USE : 0;
	put_addr(question, NDA_DST, via);
	return question;
}

bool gs_neighbour_read_entry(const struct nlmsghdr *message, uint32_t *ret_ifindex,
			     struct gs_addr *ret_via, struct gs_neighbour_entry *ret_entry)
{
	const uint16_t usable = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
	const struct ndmsg *body = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	struct gs_neighbour_entry entry = {0};
	struct gs_addr via;
	bool has_via = false;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*body))
		return false;
	entry.is_managed = body->ndm_state & NUD_PERMANENT;
	entry.is_failed = body->ndm_state & NUD_FAILED;
	mnl_attr_for_each(attribute, message, sizeof(*body))
	{
		if (mnl_attr_get_type(attribute) == NDA_DST)
			has_via = get_addr(attribute, &via);
		if (mnl_attr_get_type(attribute) == NDA_LLADDR &&
		    mnl_attr_get_payload_len(attribute) == sizeof(entry.mac)) {
			memcpy(entry.mac, mnl_attr_get_payload(attribute), sizeof(entry.mac));
			entry.is_known = body->ndm_state & usable;
		}
		if (mnl_attr_get_type(attribute) == NDA_FLAGS_EXT &&
		    mnl_attr_get_u32(attribute) & NTF_EXT_MANAGED)
			entry.is_managed = true;
	}
	if (!has_via)
		return false;
	if (message->nlmsg_type == RTM_DELNEIGH)
		entry = (struct gs_neighbour_entry){0};
	*ret_ifindex = (uint32_t)body->ndm_ifindex;
	*ret_via = via;
	*ret_entry = entry;
	return true;
}

int gs_neighbour_ask_entry(struct gs_neighbour_asker *asker, uint32_t ifindex,
			   const struct gs_addr *via, struct gs_neighbour_entry *ret_entry)
{
	char buffer[MESSAGE_BYTES];
	const struct nlmsghdr *answer = NULL;
	struct gs_addr whose;
	uint32_t where;
	int result = gs_neighbour_ask(asker, put_neighbour(buffer, RTM_GETNEIGH, 0, ifindex, via),
				      &answer);

	if (result)
		return result;
	if (!answer || answer->nlmsg_type != RTM_NEWNEIGH ||
	    !gs_neighbour_read_entry(answer, &where, &whose, ret_entry))
		return -EPROTO;
	return 0;
}

void gs_neighbour_have_resolved(struct gs_neighbour_asker *asker, uint32_t ifindex,
				const struct gs_addr *via)
{
	const uint16_t flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = put_neighbour(buffer, RTM_NEWNEIGH, flags, ifindex, via);

	mnl_attr_put_u32(question, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	if (gs_neighbour_ask(asker, question, NULL) == 0)
		return;
	/* Failing, too, changes nothing: packets go back to whoever sent them. */
	gs_neighbour_ask(asker, put_neighbour(buffer, RTM_NEWNEIGH, flags, ifindex, via), NULL);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static struct nlmsghdr *put_generic(char *buffer, uint16_t type, uint8_t command)
{
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *message;

	question->nlmsg_type = type;
	question->nlmsg_flags = NLM_F_REQUEST;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->cmd = command;
	message->version = 1;
	return question;
}

/* 0: this kernel has no such family (before 6.3). */
static uint16_t ask_netdev_family(struct gs_neighbour_asker *asker)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = put_generic(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	const struct nlmsghdr *answer = NULL;
	const struct nlattr *attribute;
	uint16_t family = 0;

	mnl_attr_put_strz(question, CTRL_ATTR_FAMILY_NAME, "netdev");
	if (gs_neighbour_ask(asker, question, &answer) || !answer)
		return 0;
	mnl_attr_for_each(attribute, answer, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID)
			family = mnl_attr_get_u16(attribute);
	}
	return family;
}

static bool ask_features(struct gs_neighbour_asker *asker, uint32_t ifindex)
{
	char buffer[MESSAGE_BYTES];
	uint16_t family = ask_netdev_family(asker);
	struct nlmsghdr *question = put_generic(buffer, family, DEV_GET);
	const struct nlmsghdr *answer = NULL;
	const struct nlattr *attribute;
	bool can_send = true;

	mnl_attr_put_u32(question, DEV_IFINDEX, ifindex);
	if (family == 0 || gs_neighbour_ask(asker, question, &answer) || !answer)
		return true;
	mnl_attr_for_each(attribute, answer, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attribute) == DEV_XDP_FEATURES &&
		    mnl_attr_get_payload_len(attribute) == sizeof(uint64_t))
			can_send = mnl_attr_get_u64(attribute) & XDP_NDO_XMIT;
	}
	return can_send;
}

/* Once a link: a socket of its own lives only that long. */
bool gs_neighbour_ask_xmit(uint32_t ifindex)
{
	GS_CLEANUP(gs_neighbour_asker_close) struct gs_neighbour_asker asker = {0};

	if (gs_neighbour_asker_open(NETLINK_GENERIC, &asker))
		return true;
	return ask_features(&asker, ifindex);
}

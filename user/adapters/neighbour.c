/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nexthop port over rtnetlink: route, link and neighbour of an address, as the kernel of this
 * network namespace has them. Each question is one message and one answer from the kernel itself,
 * so waiting for it does not block the loop; a time limit guards against the unforeseen.
 */
#include "adapters.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum {
	ANSWER_LIMIT_MS = 200,
	MESSAGE_BYTES = 1024,
	ANSWER_BYTES = 32768,
	MTU_DEFAULT = 1500,
	IP_BYTES_MAX = 65535
};

#ifndef NTF_EXT_MANAGED
#define NTF_EXT_MANAGED 1
#endif

struct neighbour {
	struct mnl_socket *socket;
	uint32_t sequence;
	char *answer; /* ANSWER_BYTES */
};

struct route {
	uint32_t ifindex;
	uint32_t mtu; /* 0: the link's */
	uint8_t type; /* RTN_* */
	bool has_source;
	struct gs_addr source;
	struct gs_addr via; /* the gateway, or the address itself */
};

struct link {
	bool is_ethernet;
	uint8_t mac[6];
	uint32_t mtu;
};

struct entry {
	bool is_known;	 /* has a MAC that may be used */
	bool is_managed; /* or permanent: the kernel keeps it by itself */
	uint8_t mac[6];
};

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

/* *ret_answer (may be NULL) is valid until the next question. */
static int ask(struct neighbour *self, struct nlmsghdr *question,
	       const struct nlmsghdr **ret_answer)
{
	const struct nlmsghdr *answer = NULL;

	question->nlmsg_seq = ++self->sequence;
	if (mnl_socket_sendto(self->socket, question, question->nlmsg_len) < 0)
		return -errno;
	while (!answer) { /* late answers to earlier questions are thrown away */
		ssize_t bytes = mnl_socket_recvfrom(self->socket, self->answer, ANSWER_BYTES);

		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes <= 0)
			return bytes ? -errno : -EPROTO;
		answer = find_answer(self->answer, (int)bytes, self->sequence);
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

static void read_metrics(const struct nlattr *metrics, struct route *route)
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

static int find_route(struct neighbour *self, const struct gs_addr *addr, struct route *ret_route)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct rtmsg *message;
	const struct nlmsghdr *answer = NULL;
	const struct nlattr *attribute;
	struct route route = {.via = *addr};
	int result;

	question->nlmsg_type = RTM_GETROUTE;
	question->nlmsg_flags = NLM_F_REQUEST;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->rtm_family = family_of(addr);
	message->rtm_dst_len = gs_addr_is_v4(addr) ? 32 : 128;
	put_addr(question, RTA_DST, addr);
	result = ask(self, question, &answer);
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

static int find_link(struct neighbour *self, uint32_t ifindex, struct link *ret_link)
{
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *message;
	const struct nlmsghdr *answer = NULL;
	const struct nlattr *attribute;
	struct link link = {0};
	int result;

	question->nlmsg_type = RTM_GETLINK;
	question->nlmsg_flags = NLM_F_REQUEST;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->ifi_index = (int)ifindex;
	result = ask(self, question, &answer);
	if (result)
		return result;
	if (!answer || answer->nlmsg_type != RTM_NEWLINK)
		return -EPROTO;
	message = mnl_nlmsg_get_payload(answer);
	mnl_attr_for_each(attribute, answer, sizeof(*message))
	{
		if (mnl_attr_get_type(attribute) == IFLA_MTU)
			link.mtu = mnl_attr_get_u32(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_ADDRESS &&
		    mnl_attr_get_payload_len(attribute) == sizeof(link.mac)) {
			memcpy(link.mac, mnl_attr_get_payload(attribute), sizeof(link.mac));
			link.is_ethernet = message->ifi_type == ARPHRD_ETHER &&
					   !(message->ifi_flags & IFF_NOARP);
		}
	}
	*ret_link = link;
	return 0;
}

/* ---- neighbour ------------------------------------------------------------------------------- */

static struct nlmsghdr *put_neighbour(char *buffer, uint16_t type, uint16_t flags,
				      const struct route *route, uint8_t entry_flags)
{
	struct nlmsghdr *question = mnl_nlmsg_put_header(buffer);
	struct ndmsg *message;

	question->nlmsg_type = type;
	question->nlmsg_flags = NLM_F_REQUEST | flags;
	message = mnl_nlmsg_put_extra_header(question, sizeof(*message));
	message->ndm_family = family_of(&route->via);
	message->ndm_ifindex = (int)route->ifindex;
	message->ndm_flags = entry_flags;
	put_addr(question, NDA_DST, &route->via);
	return question;
}

static int find_entry(struct neighbour *self, const struct route *route, struct entry *ret_entry)
{
	const uint16_t usable = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
	char buffer[MESSAGE_BYTES];
	const struct nlmsghdr *answer = NULL;
	const struct ndmsg *message;
	const struct nlattr *attribute;
	struct entry entry = {0};
	int result = ask(self, put_neighbour(buffer, RTM_GETNEIGH, 0, route, 0), &answer);

	if (result)
		return result;
	if (!answer || answer->nlmsg_type != RTM_NEWNEIGH)
		return -EPROTO;
	message = mnl_nlmsg_get_payload(answer);
	entry.is_managed = message->ndm_state & NUD_PERMANENT;
	mnl_attr_for_each(attribute, answer, sizeof(*message))
	{
		if (mnl_attr_get_type(attribute) == NDA_LLADDR &&
		    mnl_attr_get_payload_len(attribute) == sizeof(entry.mac)) {
			memcpy(entry.mac, mnl_attr_get_payload(attribute), sizeof(entry.mac));
			entry.is_known = message->ndm_state & usable;
		}
		if (mnl_attr_get_type(attribute) == NDA_FLAGS_EXT &&
		    mnl_attr_get_u32(attribute) & NTF_EXT_MANAGED)
			entry.is_managed = true;
	}
	*ret_entry = entry;
	return 0;
}

/*
 * Lets the kernel find the neighbour out and keep it known (managed entries, 5.16); before that,
 * find it out once, which the next resolve() repeats. An entry that is there keeps its MAC.
 */
static void have_resolved(struct neighbour *self, const struct route *route)
{
	const uint16_t flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *question = put_neighbour(buffer, RTM_NEWNEIGH, flags, route, NTF_USE);

	mnl_attr_put_u32(question, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	if (ask(self, question, NULL) == 0)
		return;
	/* Failing, too, changes nothing: packets go back to whoever sent them. */
	ask(self, put_neighbour(buffer, RTM_NEWNEIGH, flags, route, NTF_USE), NULL);
}

/* ---- the port -------------------------------------------------------------------------------- */

static void fill_source(const struct route *route, struct gs_hop *hop)
{
	if (!route->has_source)
		return;
	if (gs_addr_is_v4(&route->source))
		hop->src4 = route->source;
	else
		hop->src6 = route->source;
}

static int fill_hop(struct neighbour *self, const struct gs_addr *addr, struct gs_hop *hop)
{
	struct route route;
	struct link link;
	struct entry entry = {0};
	int result = find_route(self, addr, &route);

	if (result)
		return result;
	fill_source(&route, hop);
	hop->ifindex = route.ifindex;
	result = find_link(self, route.ifindex, &link);
	if (result)
		return result;
	if (link.mtu)
		hop->mtu = link.mtu;
	if (route.mtu)
		hop->mtu = route.mtu;
	if (hop->mtu > IP_BYTES_MAX) /* loopback takes more than an IP packet can be */
		hop->mtu = IP_BYTES_MAX;
	if (!link.is_ethernet || route.type != RTN_UNICAST)
		return 0;
	result = find_entry(self, &route, &entry);
	if (result && result != -ENOENT)
		return result;
	if (!entry.is_known || !entry.is_managed)
		have_resolved(self, &route);
	if (!entry.is_known)
		return 0;
	memcpy(hop->dst_mac, entry.mac, sizeof(hop->dst_mac));
	memcpy(hop->src_mac, link.mac, sizeof(hop->src_mac));
	hop->reflect = false;
	return 0;
}

static int resolve(void *context, const struct gs_addr *addr, struct gs_hop *ret_hop)
{
	struct gs_hop hop = {.reflect = true, .mtu = MTU_DEFAULT};
	int result = fill_hop(context, addr, &hop);

	if (result)
		hop.mtu = 0;
	*ret_hop = hop;
	return result;
}

static void close_neighbour(void *context)
{
	struct neighbour *self = context;

	if (!self)
		return;
	if (self->socket)
		mnl_socket_close(self->socket);
	free(self->answer);
	free(self);
}

static int open_socket(struct neighbour *self)
{
	struct timeval limit = {.tv_usec = ANSWER_LIMIT_MS * 1000L};

	self->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!self->socket || mnl_socket_bind(self->socket, 0, MNL_SOCKET_AUTOPID) ||
	    setsockopt(mnl_socket_get_fd(self->socket), SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof(limit)))
		return -errno;
	return 0;
}

static const struct gs_nexthop_ops ops = {.resolve = resolve, .close = close_neighbour};

int gs_neighbour_open(struct gs_nexthop *ret_nexthop, struct gs_error *error)
{
	struct neighbour *self = calloc(1, sizeof(*self));
	int result = -ENOMEM;

	if (self)
		self->answer = malloc(ANSWER_BYTES);
	if (self && self->answer)
		result = open_socket(self);
	if (result) {
		if (error)
			snprintf(error->text, sizeof(error->text), "rtnetlink socket: %s",
				 strerror(-result));
		close_neighbour(self);
		return result;
	}
	*ret_nexthop = (struct gs_nexthop){.ops = &ops, .self = self};
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "loader/netlink.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_BYTES 32768
#define NETDEV_FAMILY "netdev"
#define NETDEV_CMD_DEV_GET 1
#define NETDEV_A_DEV_IFINDEX 1
#define NETDEV_A_DEV_XDP_FEATURES 3

/* A request of one header and one attribute: all this file asks. */
struct request {
	struct nlmsghdr header;
	char rest[64];
};

static void put(struct request *request, const void *data, size_t size)
{
	memcpy((char *)request + request->header.nlmsg_len, data, size);
	request->header.nlmsg_len += (uint32_t)NLMSG_ALIGN(size);
}

static void put_attribute(struct request *request, uint16_t type, const void *data, size_t size)
{
	struct nlattr attribute = {
		.nla_len = (uint16_t)(NLA_HDRLEN + size),
		.nla_type = type,
	};

	put(request, &attribute, sizeof(attribute));
	put(request, data, size);
}

static struct request begin(uint16_t type, uint16_t flags)
{
	return (struct request){
		.header =
			{
				.nlmsg_len = NLMSG_HDRLEN,
				.nlmsg_type = type,
				.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
				.nlmsg_seq = 1,
			},
	};
}

/* NULL: no such attribute of at least `size` bytes. */
static const void *find_attribute(const void *from, size_t bytes, uint16_t type, size_t size,
				  size_t *ret_size)
{
	const char *at = from;
	size_t step;

	while (bytes >= NLA_HDRLEN) {
		struct nlattr attribute;

		memcpy(&attribute, at, sizeof(attribute));
		if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > bytes)
			return NULL;
		if ((attribute.nla_type & NLA_TYPE_MASK) == type &&
		    (size_t)attribute.nla_len - NLA_HDRLEN >= size) {
			if (ret_size)
				*ret_size = (size_t)attribute.nla_len - NLA_HDRLEN;
			return at + NLA_HDRLEN;
		}
		step = NLA_ALIGN((size_t)attribute.nla_len);
		if (step >= bytes)
			return NULL;
		at += step;
		bytes -= step;
	}
	return NULL;
}

static uint32_t get_u32(const void *from, size_t bytes, uint16_t type)
{
	const void *found = find_attribute(from, bytes, type, sizeof(uint32_t), NULL);
	uint32_t value = 0;

	if (found)
		memcpy(&value, found, sizeof(value));
	return value;
}

/* ---- asking ----------------------------------------------------------------------------------*/

typedef void (*visitor)(const struct nlmsghdr *message, void *context);

/* 1: go on reading. 0: that was all. -errno. */
static int read_messages(const char *buffer, size_t bytes, visitor visit, void *context)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	bool goes_on = false;
	int code;

	for (; NLMSG_OK(message, bytes); message = NLMSG_NEXT(message, bytes)) {
		if (message->nlmsg_type == NLMSG_DONE)
			return 0;
		if (message->nlmsg_type == NLMSG_ERROR) {
			memcpy(&code, NLMSG_DATA(message), sizeof(code));
			return code;
		}
		goes_on = message->nlmsg_flags & NLM_F_MULTI;
		visit(message, context);
	}
	return goes_on;
}

static int ask(int protocol, const struct request *request, visitor visit, void *context)
{
	GS_AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	const struct timeval patience = {.tv_sec = 5};
	GS_AUTO_FREE char *buffer = malloc(ANSWER_BYTES);
	ssize_t got;
	int ret = 1;

	if (fd < 0)
		return -errno;
	if (!buffer)
		return -ENOMEM;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		return -errno;
	while (ret > 0) {
		got = recv(fd, buffer, ANSWER_BYTES, 0);
		if (got < 0)
			return -errno;
		ret = read_messages(buffer, (size_t)got, visit, context);
	}
	return ret;
}

/* ---- features of XDP -------------------------------------------------------------------------*/

static const void *generic_payload(const struct nlmsghdr *message, size_t *ret_bytes)
{
	*ret_bytes = message->nlmsg_len > NLMSG_LENGTH(GENL_HDRLEN)
			     ? message->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN)
			     : 0;
	return (const char *)NLMSG_DATA(message) + GENL_HDRLEN;
}

static void take_family(const struct nlmsghdr *message, void *context)
{
	size_t bytes;
	const void *payload = generic_payload(message, &bytes);
	const void *id =
		find_attribute(payload, bytes, CTRL_ATTR_FAMILY_ID, sizeof(uint16_t), NULL);

	if (id)
		memcpy(context, id, sizeof(uint16_t));
}

struct features {
	bool are_told;
	uint64_t bits;
};

static void take_features(const struct nlmsghdr *message, void *context)
{
	struct features *features = context;
	size_t bytes;
	const void *payload = generic_payload(message, &bytes);
	const void *bits = find_attribute(payload, bytes, NETDEV_A_DEV_XDP_FEATURES,
					  sizeof(features->bits), NULL);

	if (!bits)
		return;
	memcpy(&features->bits, bits, sizeof(features->bits));
	features->are_told = true;
}

int gs_netlink_xdp_features(uint32_t ifindex, uint64_t *ret_features)
{
	const struct genlmsghdr get_family = {.cmd = CTRL_CMD_GETFAMILY, .version = 1};
	const struct genlmsghdr get_device = {.cmd = NETDEV_CMD_DEV_GET, .version = 1};
	struct request request = begin(GENL_ID_CTRL, 0);
	struct features features = {0};
	uint16_t family = 0;
	int ret;

	put(&request, &get_family, sizeof(get_family));
	put_attribute(&request, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY, sizeof(NETDEV_FAMILY));
	ret = ask(NETLINK_GENERIC, &request, take_family, &family);
	if (ret)
		return ret;
	request = begin(family, 0);
	put(&request, &get_device, sizeof(get_device));
	put_attribute(&request, NETDEV_A_DEV_IFINDEX, &ifindex, sizeof(ifindex));
	ret = family ? ask(NETLINK_GENERIC, &request, take_features, &features) : -ENOENT;
	if (ret)
		return ret;
	if (!features.are_told)
		return -ENOENT;
	*ret_features = features.bits;
	return 0;
}

/* ---- the other end ----------------------------------------------------------------------------*/

static void take_peer(const struct nlmsghdr *message, void *context)
{
	const char *attributes =
		(const char *)NLMSG_DATA(message) + NLMSG_ALIGN(sizeof(struct ifinfomsg));
	size_t bytes;
	uint32_t peer;

	if (message->nlmsg_type != RTM_NEWLINK ||
	    message->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return;
	bytes = message->nlmsg_len - NLMSG_LENGTH(sizeof(struct ifinfomsg));
	if (find_attribute(attributes, bytes, IFLA_LINK_NETNSID, sizeof(uint32_t), NULL))
		return;
	peer = get_u32(attributes, bytes, IFLA_LINK);
	memcpy(context, &peer, sizeof(peer));
}

int gs_netlink_peer(uint32_t ifindex, uint32_t *ret_peer)
{
	const struct ifinfomsg link = {.ifi_index = (int)ifindex};
	struct request request = begin(RTM_GETLINK, 0);
	uint32_t peer = 0;
	int ret;

	put(&request, &link, sizeof(link));
	ret = ask(NETLINK_ROUTE, &request, take_peer, &peer);
	if (ret)
		return ret;
	*ret_peer = peer;
	return 0;
}

/* ---- bonds -----------------------------------------------------------------------------------*/

static bool is_word(const void *from, size_t bytes, uint16_t type, const char *word)
{
	size_t size = 0;
	const char *found = find_attribute(from, bytes, type, 1, &size);

	return found && strnlen(found, size) == strlen(word) && !memcmp(found, word, strlen(word));
}

static uint8_t get_u8(const void *from, size_t bytes, uint16_t type)
{
	const uint8_t *found = find_attribute(from, bytes, type, sizeof(*found), NULL);

	return found ? *found : 0;
}

static void take_bond(const struct nlmsghdr *message, void *context)
{
	const char *attributes =
		(const char *)NLMSG_DATA(message) + NLMSG_ALIGN(sizeof(struct ifinfomsg));
	struct gs_netlink_bond *bond = context;
	size_t bytes, info_bytes = 0, data_bytes = 0;
	const void *info, *data;

	if (message->nlmsg_type != RTM_NEWLINK ||
	    message->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return;
	bytes = message->nlmsg_len - NLMSG_LENGTH(sizeof(struct ifinfomsg));
	info = find_attribute(attributes, bytes, IFLA_LINKINFO, 0, &info_bytes);
	if (!info)
		return;
	if (is_word(info, info_bytes, IFLA_INFO_SLAVE_KIND, "bond"))
		bond->master = get_u32(attributes, bytes, IFLA_MASTER);
	data = find_attribute(info, info_bytes, IFLA_INFO_DATA, 0, &data_bytes);
	bond->is_bond = data && is_word(info, info_bytes, IFLA_INFO_KIND, "bond");
	if (!bond->is_bond)
		return;
	bond->mode = get_u8(data, data_bytes, IFLA_BOND_MODE);
	bond->policy = get_u8(data, data_bytes, IFLA_BOND_XMIT_HASH_POLICY);
}

int gs_netlink_bond(uint32_t ifindex, struct gs_netlink_bond *ret_bond)
{
	const struct ifinfomsg link = {.ifi_index = (int)ifindex};
	struct request request = begin(RTM_GETLINK, 0);
	struct gs_netlink_bond bond = {0};
	int ret;

	put(&request, &link, sizeof(link));
	ret = ask(NETLINK_ROUTE, &request, take_bond, &bond);
	if (ret)
		return ret;
	*ret_bond = bond;
	return 0;
}

/* ---- default route ---------------------------------------------------------------------------*/

struct best {
	int family;
	uint32_t priority;
	struct gs_default_route route;
};

static uint32_t first_way(const char *attributes, size_t bytes)
{
	uint32_t ifindex = get_u32(attributes, bytes, RTA_OIF);
	const void *ways;
	struct rtnexthop way;

	if (ifindex)
		return ifindex;
	ways = find_attribute(attributes, bytes, RTA_MULTIPATH, sizeof(way), NULL);
	if (!ways)
		return 0;
	memcpy(&way, ways, sizeof(way));
	return (uint32_t)way.rtnh_ifindex;
}

static void take_route(const struct nlmsghdr *message, void *context)
{
	struct best *best = context;
	const struct rtmsg *route = NLMSG_DATA(message);
	const char *attributes = (const char *)route + NLMSG_ALIGN(sizeof(*route));
	size_t bytes, metrics_bytes = 0;
	const void *metrics;
	uint32_t priority;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    message->nlmsg_len < NLMSG_LENGTH(sizeof(*route)))
		return;
	bytes = message->nlmsg_len - NLMSG_LENGTH(sizeof(*route));
	if (route->rtm_family != best->family || route->rtm_dst_len != 0 ||
	    route->rtm_type != RTN_UNICAST || route->rtm_table != RT_TABLE_MAIN)
		return;
	priority = get_u32(attributes, bytes, RTA_PRIORITY);
	if (best->route.exists && best->priority <= priority)
		return;
	metrics = find_attribute(attributes, bytes, RTA_METRICS, 0, &metrics_bytes);
	best->priority = priority;
	best->route = (struct gs_default_route){
		.exists = true,
		.ifindex = first_way(attributes, bytes),
		.mtu = metrics ? get_u32(metrics, metrics_bytes, RTAX_MTU) : 0,
		.advmss = metrics ? get_u32(metrics, metrics_bytes, RTAX_ADVMSS) : 0,
	};
}

int gs_netlink_default_route(int family, struct gs_default_route *ret_route)
{
	struct request request = begin(RTM_GETROUTE, NLM_F_DUMP);
	const struct rtmsg route = {.rtm_family = (unsigned char)family};
	struct best best = {.family = family};
	int ret;

	put(&request, &route, sizeof(route));
	ret = ask(NETLINK_ROUTE, &request, take_route, &best);
	if (ret)
		return ret;
	*ret_route = best.route;
	return 0;
}

/* ---- filters ----------------------------------------------------------------------------------*/

static void count_filter(const struct nlmsghdr *message, void *context)
{
	if (message->nlmsg_type == RTM_NEWTFILTER)
		++*(uint32_t *)context;
}

int gs_netlink_has_filters(uint32_t ifindex, bool *ret_has)
{
	static const uint32_t parents[] = {TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
					   TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)};
	uint32_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		const struct tcmsg filters = {.tcm_ifindex = (int)ifindex,
					      .tcm_parent = parents[i]};
		struct request request = begin(RTM_GETTFILTER, NLM_F_DUMP);
		int ret;

		put(&request, &filters, sizeof(filters));
		ret = ask(NETLINK_ROUTE, &request, count_filter, &count);
		if (ret)
			return ret;
	}
	*ret_has = count > 0;
	return 0;
}

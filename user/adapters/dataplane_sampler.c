/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler.h"

#include "dataplane_pin.h"
#include "dataplane_twin.h"
#include "maps/gs_maps.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TAKE_WAIT_MS = 20 };

static const struct gs_dataplane_pin META = {GS_MAP_META, BPF_MAP_TYPE_ARRAY,
					     sizeof(struct gs_meta_value), 1};
static const struct gs_dataplane_pin MONITOR = {GS_MAP_MONITOR, BPF_MAP_TYPE_ARRAY,
						sizeof(struct gs_monitor_value), 1};
static const struct gs_dataplane_pin COUNTS = {GS_MAP_MONITOR_CPU, BPF_MAP_TYPE_PERCPU_ARRAY,
					       sizeof(struct gs_monitor_count), 1};
static const struct gs_dataplane_pin SAMPLES = {GS_MAP_SAMPLES, BPF_MAP_TYPE_RINGBUF, 0, 0};

struct gs_sampler {
	struct gs_meta_value *meta;	  /* mapped */
	struct gs_monitor_value *monitor; /* mapped */
	int counts_fd, samples_fd;
	struct ring_buffer *ring;
	uint64_t lease_ns; /* as we wrote it; 0: we have none */
	struct gs_sampler_counts before;
	int64_t unix_offset_us;	 /* of CLOCK_MONOTONIC */
	gs_sampler_visit *visit; /* of the read under way; NULL: samples are thrown away */
	void *context;
};

/* ---- names ----------------------------------------------------------------------------------- */

#define NAME(name, verdict, text) #name,
#define TEXT(name, verdict, text) (text),
static const char *const names[] = {GS_REASONS(NAME)};
static const char *const texts[] = {GS_REASONS(TEXT)};
#undef NAME
#undef TEXT

#define PASS "pass"
#define DROP "drop"
#define TX "tx"
#define VERDICT(name, verdict, text) verdict,
static const char *const verdicts[] = {GS_REASONS(VERDICT)};
#undef VERDICT

uint64_t gs_sampler_reasons(const char *name)
{
	uint64_t reasons = 0;

	for (uint32_t i = 0; i < GS_REASON__COUNT; i++)
		if (strcmp(name, names[i]) == 0 || strcmp(name, verdicts[i]) == 0)
			reasons |= 1ull << i;
	return reasons;
}

const char *gs_sampler_reason_name(uint32_t number)
{
	return number < GS_REASON__COUNT ? names[number] : NULL;
}

static const char *protocol_name(const struct gs_sample *sample)
{
	if (sample->protocol == IPPROTO_TCP)
		return "tcp";
	if (sample->protocol == IPPROTO_UDP)
		return "udp";
	return "-";
}

/* In the order of enum gs_shape (bpf/parse.h). */
static const char *const shapes[] = {"whole", "first", "later", "error", "echo"};

struct gs_sampled gs_dataplane_sampled(const struct gs_sample *sample, int64_t unix_offset_us)
{
	bool is_echo = sample->shape == ARRAY_SIZE(shapes) - 1;
	struct gs_sampled sampled = {
		.unix_us = (int64_t)(sample->time_ns / 1000) + unix_offset_us,
		.verdict = sample->reason < GS_REASON__COUNT ? verdicts[sample->reason] : "?",
		.reason = sample->reason < GS_REASON__COUNT ? names[sample->reason] : "?",
		.text = sample->reason < GS_REASON__COUNT ? texts[sample->reason] : "?",
		.shape = sample->shape < ARRAY_SIZE(shapes) ? shapes[sample->shape] : "?",
		.protocol = is_echo ? "icmp" : protocol_name(sample),
		.has_addresses = sample->family != 0,
		.sport = ntohs(sample->src_port),
		.dport = ntohs(sample->dst_port),
		.tcp_flags = sample->tcp_flags,
		.length = sample->length,
		.service = sample->service,
		.region = sample->region,
		.backend = sample->backend,
		.in_ifindex = sample->in_ifindex,
		.out_ifindex = sample->out_ifindex,
	};

	memcpy(sampled.src.bytes, sample->src, sizeof(sampled.src.bytes));
	memcpy(sampled.dst.bytes, sample->dst, sizeof(sampled.dst.bytes));
	return sampled;
}

/* ---- the lease ------------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static uint64_t next_lease(void)
{
	return clock_ns(CLOCK_MONOTONIC) + GS_SAMPLER_LEASE_MS * 1000000ull;
}

static bool swap_lease(struct gs_sampler *sampler, __u64 was, __u64 now)
{
	if (!__atomic_compare_exchange_n(&sampler->monitor->lease_until_ns, &was, now, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	sampler->lease_ns = now;
	return true;
}

/* Another's, in force; of a process that is gone it will not be renewed, and is waited for. */
static int take_lease(struct gs_sampler *sampler, struct gs_error *error)
{
	const struct timespec tick = {.tv_nsec = TAKE_WAIT_MS * 1000000L};

	for (;;) {
		uint64_t was = __atomic_load_n(&sampler->monitor->lease_until_ns, __ATOMIC_ACQUIRE);
		pid_t holder =
			(pid_t)__atomic_load_n(&sampler->monitor->holder_pid, __ATOMIC_RELAXED);

		if (was <= clock_ns(CLOCK_MONOTONIC)) {
			if (!swap_lease(sampler, was, next_lease()))
				continue;
			__atomic_store_n(&sampler->monitor->holder_pid, (__u32)getpid(),
					 __ATOMIC_RELAXED);
			return 0;
		}
		if (holder == 0 || kill(holder, 0) == 0 || errno != ESRCH)
			return gs_error_set(-EBUSY, error,
					    "another monitor is looking on here: process %d; one "
					    "at a time",
					    (int)holder);
		nanosleep(&tick, NULL);
	}
}

static int renew_lease(struct gs_sampler *sampler, struct gs_error *error)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), renewed = next_lease();

	if (sampler->lease_ns > now + GS_SAMPLER_LEASE_MS * 1000000ull * 2 / 3)
		return 0;
	if (!swap_lease(sampler, sampler->lease_ns, renewed)) {
		sampler->lease_ns = 0;
		return gs_error_set(-ESTALE, error,
				    "this monitor was stopped for longer than %u s, and process %u "
				    "has taken over",
				    GS_SAMPLER_LEASE_MS / 1000, sampler->monitor->holder_pid);
	}
	__atomic_store_n(&sampler->meta->monitor_until_ns, renewed, __ATOMIC_RELEASE);
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int open_maps(struct gs_sampler *sampler, const char *pin_dir, struct gs_error *error)
{
	void *memory;
	int result = gs_dataplane_pin_map(pin_dir, &META, true, &memory, NULL, error);

	if (result)
		return result;
	sampler->meta = memory;
	result = gs_dataplane_pin_map(pin_dir, &MONITOR, true, &memory, NULL, error);
	if (result)
		return result;
	sampler->monitor = memory;
	result = gs_dataplane_pin_open(pin_dir, &COUNTS, &sampler->counts_fd, NULL, error);
	if (result)
		return result;
	return gs_dataplane_pin_open(pin_dir, &SAMPLES, &sampler->samples_fd, NULL, error);
}

static int on_sample(void *context, void *data, size_t size)
{
	struct gs_sampler *sampler = context;
	struct gs_sampled sampled;

	if (!sampler->visit || size < sizeof(struct gs_sample))
		return 0;
	sampled = gs_dataplane_sampled(data, sampler->unix_offset_us);
	return sampler->visit(sampler->context, &sampled) ? 0 : -ECANCELED;
}

/* In words that packets may read while they change; nothing is on yet. */
static void write_ask(struct gs_sampler *sampler, const struct gs_sampler_ask *ask)
{
	struct gs_monitor_value *monitor = sampler->monitor;
	struct gs_addr mask = {{0}}, src = {{0}};
	uint32_t bits = 0;

	if (ask->has_src) {
		src = ask->src.addr;
		bits = ask->src.length + (ask->src.is_v4 ? 96u : 0u);
	}
	for (uint32_t i = 0; i < bits; i++)
		mask.bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
	memcpy(monitor->src_mask, mask.bytes, sizeof(monitor->src_mask));
	memcpy(monitor->src, src.bytes, sizeof(monitor->src));
	monitor->service = ask->service;
	monitor->reasons = ask->reasons;
	sampler->meta->monitor_mask = ask->every ? ask->every - 1 : 0;
}

static int begin(struct gs_sampler *sampler, const struct gs_sampler_ask *ask,
		 struct gs_error *error)
{
	int result = take_lease(sampler, error);

	if (result)
		return result;
	sampler->ring = ring_buffer__new(sampler->samples_fd, on_sample, sampler, NULL);
	if (!sampler->ring)
		return gs_error_set(-errno, error, "map %s: %s", SAMPLES.name, strerror(errno));
	result = gs_sampler_count(sampler, &sampler->before);
	if (result)
		return gs_error_set(result, error, "map %s: %s", COUNTS.name, strerror(-result));
	ring_buffer__consume(sampler->ring); /* what somebody left, unread */
	write_ask(sampler, ask);
	__atomic_store_n(&sampler->meta->monitor_until_ns, sampler->lease_ns, __ATOMIC_RELEASE);
	return 0;
}

int gs_sampler_open(const char *pin_dir, const struct gs_sampler_ask *ask,
		    struct gs_sampler **ret_sampler, struct gs_error *error)
{
	struct gs_sampler *sampler = calloc(1, sizeof(*sampler));
	int result;

	if (!sampler)
		return gs_error_set(-ENOMEM, error, "out of memory");
	sampler->counts_fd = sampler->samples_fd = -1;
	sampler->unix_offset_us =
		(int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC)) / 1000;
	result = open_maps(sampler, pin_dir, error);
	if (result == 0)
		result = begin(sampler, ask, error);
	if (result) {
		gs_sampler_close(sampler);
		return result;
	}
	*ret_sampler = sampler;
	return 0;
}

void gs_sampler_close(struct gs_sampler *sampler)
{
	if (!sampler)
		return;
	/* The switch first: whoever comes next turns it on again. */
	if (sampler->lease_ns &&
	    sampler->lease_ns ==
		    __atomic_load_n(&sampler->monitor->lease_until_ns, __ATOMIC_ACQUIRE)) {
		__atomic_store_n(&sampler->meta->monitor_until_ns, 0, __ATOMIC_RELEASE);
		swap_lease(sampler, sampler->lease_ns, 0);
	}
	ring_buffer__free(sampler->ring);
	gs_dataplane_pin_unmap(sampler->meta, &META, 1);
	gs_dataplane_pin_unmap(sampler->monitor, &MONITOR, 1);
	if (sampler->counts_fd >= 0)
		close(sampler->counts_fd);
	if (sampler->samples_fd >= 0)
		close(sampler->samples_fd);
	free(sampler);
}

/* ---- reading --------------------------------------------------------------------------------- */

int gs_sampler_read(struct gs_sampler *sampler, gs_sampler_visit *visit, void *context,
		    struct gs_error *error)
{
	int result = renew_lease(sampler, error);

	if (result)
		return result;
	sampler->visit = visit;
	sampler->context = context;
	result = ring_buffer__consume(sampler->ring);
	sampler->visit = NULL;
	if (result < 0 && result != -ECANCELED)
		return gs_error_set(result, error, "map %s: %s", SAMPLES.name, strerror(-result));
	return 0;
}

int gs_sampler_count(const struct gs_sampler *sampler, struct gs_sampler_counts *ret_counts)
{
	struct gs_sampler_counts counts = {0};
	GS_AUTO_FREE struct gs_monitor_count *cpus = NULL;
	int cpu_count = libbpf_num_possible_cpus();
	__u32 zero = 0;

	if (cpu_count <= 0)
		return cpu_count ? cpu_count : -EINVAL;
	cpus = calloc((size_t)cpu_count, sizeof(*cpus));
	if (!cpus)
		return -ENOMEM;
	if (bpf_map_lookup_elem(sampler->counts_fd, &zero, cpus))
		return -errno;
	for (int cpu = 0; cpu < cpu_count; cpu++) {
		counts.sent += cpus[cpu].sent;
		counts.lost += cpus[cpu].lost;
		counts.held += cpus[cpu].held;
	}
	counts.sent -= sampler->before.sent;
	counts.lost -= sampler->before.lost;
	counts.held -= sampler->before.held;
	*ret_counts = counts;
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "user/ctl/ctl_capture.h"

#include "user/base/cleanup.h"
#include "user/ctl/ctl.h"

#include <errno.h>
#include <string.h>

enum {
	FILE_HEADER = 24,
	RECORD_HEADER = 16,
	LINK_ETHERNET = 1,
};
#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define MAGIC_PCAPNG 0x0a0d0d0au /* the same in either byte order */
#define LINK_BITS 0x03ffffffu	 /* above it: whether frames have their checksum */

struct reader {
	FILE *file;
	const char *path;
	bool is_swapped;
};

static uint32_t number_at(const struct reader *reader, const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return reader->is_swapped ? __builtin_bswap32(value) : value;
}

/* ---- the file's header ----------------------------------------------------------------------- */

static int refuse_link(const struct reader *reader, uint32_t link)
{
	static const struct {
		uint32_t number;
		const char *name;
	} names[] = {
		{0, "BSD loopback"},
		{12, "raw IP"},
		{101, "raw IP"},
		{105, "802.11"},
		{113, "Linux cooked, of -i any"},
		{228, "raw IPv4"},
		{229, "raw IPv6"},
		{276, "Linux cooked, of -i any"},
	};
	const char *name = "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].number == link)
			name = names[i].name;
	return gs_ctl_fail("--pcap: %s: its frames are not Ethernet's but of link type %u%s%s%s: "
			   "capture on one NIC, not on any (tcpdump -i NIC -w FILE)",
			   reader->path, link, *name ? " (" : "", name, *name ? ")" : "");
}

static int read_header(struct reader *reader)
{
	uint8_t head[FILE_HEADER];
	size_t got = fread(head, 1, sizeof(head), reader->file);
	uint32_t magic = 0, link;

	if (ferror(reader->file))
		return gs_ctl_fail("--pcap: %s: %s", reader->path, strerror(errno));
	if (got >= sizeof(magic))
		memcpy(&magic, head, sizeof(magic));
	if (magic == MAGIC_PCAPNG)
		return gs_ctl_fail("--pcap: %s: of the format pcapng, which is not read here: "
				   "editcap -F pcap, or tcpdump -r ... -w ..., makes tcpdump's "
				   "classic one of it",
				   reader->path);
	if (got < sizeof(head))
		return gs_ctl_fail("--pcap: %s: no capture: shorter than its header", reader->path);
	reader->is_swapped =
		magic == __builtin_bswap32(MAGIC_US) || magic == __builtin_bswap32(MAGIC_NS);
	if (!reader->is_swapped && magic != MAGIC_US && magic != MAGIC_NS)
		return gs_ctl_fail("--pcap: %s: no capture of tcpdump's classic format",
				   reader->path);
	link = number_at(reader, head + 20) & LINK_BITS;
	return link == LINK_ETHERNET ? GS_CTL_DONE : refuse_link(reader, link);
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* number: from 1 on */
static int read_frame(const struct reader *reader, const uint8_t record[RECORD_HEADER],
		      uint32_t number, uint32_t min, uint32_t max, struct gs_ctl_frame *ret_frame)
{
	uint32_t captured = number_at(reader, record + 8), length = number_at(reader, record + 12);
	GS_AUTO_FREE uint8_t *bytes = NULL;

	if (captured > length)
		return gs_ctl_fail("--pcap: %s: packet %u: %u bytes captured of %u: no capture, "
				   "or damaged",
				   reader->path, number, captured, length);
	if (length < min || length > max)
		return gs_ctl_fail("--pcap: %s: packet %u: a frame of %u bytes: %u to %u can be "
				   "tried",
				   reader->path, number, length, min, max);
	if (captured < min)
		return gs_ctl_fail("--pcap: %s: packet %u: only %u of its %u bytes were captured",
				   reader->path, number, captured, length);
	bytes = calloc(1, length);
	if (!bytes)
		return gs_ctl_fail("out of memory");
	if (fread(bytes, 1, captured, reader->file) != captured)
		return gs_ctl_fail("--pcap: %s: packet %u: the file ends within it", reader->path,
				   number);
	*ret_frame = (struct gs_ctl_frame){.length = length, .captured = captured};
	ret_frame->bytes = gs_take_ptr(bytes);
	return GS_CTL_DONE;
}

static int read_frames(const struct reader *reader, uint32_t min, uint32_t max,
		       struct gs_ctl_capture *capture)
{
	uint8_t record[RECORD_HEADER];
	size_t got;

	while ((got = fread(record, 1, sizeof(record), reader->file)) > 0) {
		int result;

		if (capture->count == GS_CTL_FRAMES_MAX)
			return gs_ctl_fail("--pcap: %s: more than %u packets", reader->path,
					   GS_CTL_FRAMES_MAX);
		if (got < sizeof(record))
			return gs_ctl_fail("--pcap: %s: packet %u: the file ends within its header",
					   reader->path, capture->count + 1);
		result = read_frame(reader, record, capture->count + 1, min, max,
				    &capture->frames[capture->count]);
		if (result)
			return result;
		capture->count++;
	}
	if (ferror(reader->file))
		return gs_ctl_fail("--pcap: %s: %s", reader->path, strerror(errno));
	return capture->count > 0 ? GS_CTL_DONE
				  : gs_ctl_fail("--pcap: %s: no packets in it", reader->path);
}

int gs_ctl_capture_read(const char *path, uint32_t min, uint32_t max,
			struct gs_ctl_capture *ret_capture)
{
	GS_CLEANUP(gs_ctl_capture_done) struct gs_ctl_capture capture = {0};
	GS_AUTO_FCLOSE FILE *file = fopen(path, "rb");
	struct reader reader = {.file = file, .path = path};
	int result;

	if (!file)
		return gs_ctl_fail("--pcap: %s: %s", path, strerror(errno));
	result = read_header(&reader);
	if (result)
		return result;
	capture.frames = calloc(GS_CTL_FRAMES_MAX, sizeof(*capture.frames));
	if (!capture.frames)
		return gs_ctl_fail("out of memory");
	result = read_frames(&reader, min, max, &capture);
	if (result)
		return result;
	*ret_capture = capture;
	capture = (struct gs_ctl_capture){0};
	return GS_CTL_DONE;
}

void gs_ctl_capture_done(struct gs_ctl_capture *capture)
{
	for (uint32_t i = 0; i < capture->count; i++)
		free(capture->frames[i].bytes);
	free(capture->frames);
	*capture = (struct gs_ctl_capture){0};
}

// SPDX-License-Identifier: Apache-2.0
/* Attaches a pinned XDP program by a bpf_link, which bpftool cannot; generic mode; prints its id.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	int program, link;

	if (argc != 4) {
		fputs("usage: xdp_link PROGRAM_PIN INTERFACE LINK_PIN\n", stderr);
		return 2;
	}
	program = bpf_obj_get(argv[1]);
	link = bpf_link_create(program, (int)if_nametoindex(argv[2]), BPF_XDP, &opts);
	if (program < 0 || link < 0 || bpf_obj_pin(link, argv[3]) ||
	    bpf_obj_get_info_by_fd(link, &info, &size)) {
		perror(argv[3]);
		return 1;
	}
	printf("%u\n", info.id);
	return 0;
}

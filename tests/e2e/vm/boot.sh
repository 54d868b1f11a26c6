# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Debian's kernels under qemu, small and bounded. Source after tests/e2e/lib.sh:
#
#	vm_kernel PATTERN        newest linux-image package matching it -> $VM_KERNEL_DIR
#	vm_image FILE            a busybox initramfs with the loader and what it needs
#	vm_run IMAGE LOG         boots, writes the serial console to LOG; at most $VM_BOUND seconds

VM_BOUND=${VM_BOUND:-600}
VM_DIR=${BUILD:-build}/vm
VM_LIBXDP=/usr/lib/$(gcc -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)/bpf

# The name of the newest package. Lists may be missing on a clean machine, or too old to name it.
vm_find() { # PATTERN
	apt-cache search --names-only "$1" | awk '{ print $1 }' | sort -V | tail -n 1
}

vm_download() { # PACKAGE: into the current folder
	local tries
	for tries in 1 2 3 4 5; do
		apt-get -q -o Acquire::Retries=3 -o Acquire::http::Timeout=60 download "$1" && return 0
		pause "$tries"
		# a mirror that has a newer one, and no more the one in the lists
		apt-get -q -o Acquire::Retries=3 update || :
	done
	return 1
}

vm_kernel() { # PATTERN
	local package
	package=$(vm_find "$1")
	if [[ -z $package ]]; then
		apt-get -q -o Acquire::Retries=5 update || :
		package=$(vm_find "$1")
	fi
	[[ -n $package ]] || return 1
	VM_KERNEL_DIR=$VM_DIR/$package
	[[ -e $VM_KERNEL_DIR/complete ]] && return 0
	rm -rf "$VM_KERNEL_DIR"
	mkdir -p "$VM_KERNEL_DIR/deb"
	(cd "$VM_KERNEL_DIR/deb" && vm_download "$package") || return 1
	dpkg -x "$VM_KERNEL_DIR"/deb/*.deb "$VM_KERNEL_DIR" || return 1
	rm -rf "$VM_KERNEL_DIR/deb"
	touch "$VM_KERNEL_DIR/complete"
}

# With the shared libraries it needs, where it expects them.
vm_add_program() { # ROOT PROGRAM DESTINATION
	local library
	mkdir -p "$1/$(dirname "$3")"
	cp -L "$2" "$1/$3" || return 1
	while read -r library; do
		mkdir -p "$1$(dirname "$library")"
		[[ -e $1$library ]] || cp -L "$library" "$1$library" || return 1
	done < <(ldd "$2" | grep -o '/[^ ]*')
}

vm_image() { # FILE
	local root applet module
	root=$(mktemp -d "$TAP_WORK/root.XXXXXX") || return 1
	mkdir -p "$root"/{bin,sbin,dev,proc,sys,tmp,run,etc,gs/bpf} "$root$VM_LIBXDP" || return 1
	cp -L "$(command -v busybox)" "$root/bin/busybox" || return 1
	for applet in sh mount mkdir echo insmod arping cut grep head sed tail cat test uname poweroff \
		sort wc mkfifo tee env rm; do
		ln -s busybox "$root/bin/$applet"
	done
	vm_add_program "$root" "$BUILD/geostream-loader" /gs/geostream-loader || return 1
	vm_add_program "$root" "$(command -v ip)" /sbin/ip || return 1
	vm_add_program "$root" "$BUILD/vm-bond" /gs/vm-bond || return 1
	vm_add_program "$root" /usr/sbin/bpftool /usr/sbin/bpftool || return 1
	vm_add_program "$root" /usr/sbin/xdp-loader /usr/sbin/xdp-loader || return 1
	cp "$VM_LIBXDP/xdp-dispatcher.o" "$root$VM_LIBXDP/" || return 1
	cp "$BUILD"/bpf/{gs_xdp,gs_decap,gs_probe,bystander}.bpf.o "$root/gs/bpf/" || return 1
	for module in veth dummy tunnel4 ip_tunnel ipip tunnel6 ip6_tunnel sch_ingress cls_bpf tls \
		bonding llc stp garp mrp 8021q; do
		cp "$(find "$VM_KERNEL_DIR/lib/modules" -name "$module.ko")" "$root/gs/" || return 1
	done
	install -m 755 tests/e2e/vm/init "$root/init" || return 1
	cp tests/e2e/vm/bonds.sh "$root/gs/" || return 1
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$1"
}

# Emulated: a few seconds, and the same on every machine. A /dev/kvm inside a virtual machine may be
# there and fail on its first cmpxchg16b (met on a test machine), which no fallback of qemu's catches.
vm_run() { # IMAGE LOG
	timeout -k 5 "$VM_BOUND" qemu-system-x86_64 -accel tcg -m 512 -smp 1 \
		-display none -monitor none -serial "file:$2" -no-reboot -nic none \
		-kernel "$VM_KERNEL_DIR"/boot/vmlinuz-* -initrd "$1" \
		-append "console=ttyS0 panic=-1 quiet loglevel=1" </dev/null
}

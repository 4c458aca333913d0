# The third level of x86-64: AVX2 and XSAVE for the kernel and its library.
memory 256M
model x86-64-v3
kernel $GUESTS/linux-amd64/vmlinuz
initrd $GUESTS/linux-amd64/initrd
append console=ttyS0,115200 quiet
limit 120
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>' || echo clean-dmes''g\n
serial clean-dmesg
send dmesg | grep -E 'unstable|stall|invalid rate|BUG|WARNING:' || echo clean-tim''e\n
serial clean-time
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-1
send poweroff -f\n
poweroff

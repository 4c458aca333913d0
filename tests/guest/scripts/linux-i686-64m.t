# As little memory as Debian's kernel can do with.
memory 64M
kernel $GUESTS/linux-i686/vmlinuz
initrd $GUESTS/linux-i686/initrd
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

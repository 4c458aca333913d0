# From power-on: SeaBIOS, GRUB on a virtio disk, Debian's kernel, a shell, power-off.
memory 256M
virtio $GUESTS/disk-amd64/disk.img
limit 120
serial @@GRUB
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>' || echo clean-dmes''g\n
serial clean-dmesg
send dmesg | grep -E 'unstable|stall|invalid rate|BUG|WARNING:' || echo clean-tim''e\n
serial clean-time
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-1
send poweroff -f\n
poweroff

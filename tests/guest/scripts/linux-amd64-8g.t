# Eight GiB, most of them above the 4 GiB boundary, and none touched on the host before its time.
memory 8G
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
send grep -E MemTotal /proc/meminfo\n
serial MemTotal:        81
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-1
send poweroff -f\n
poweroff

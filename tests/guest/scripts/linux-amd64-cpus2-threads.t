# Two processors, each on a thread of the host, in the host's time; else as linux-amd64-cpus2.t.
memory 256M
cpus 2
clock host
engine $ENGINE
kernel $GUESTS/linux-amd64/vmlinuz
initrd $GUESTS/linux-amd64/initrd
append console=ttyS0,115200 quiet
limit 300
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>' || echo clean-dmes''g\n
serial clean-dmesg
send dmesg | grep -E 'unstable|stall|invalid rate|BUG|WARNING:' || echo clean-tim''e\n
serial clean-time
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-2
send poweroff -f\n
poweroff

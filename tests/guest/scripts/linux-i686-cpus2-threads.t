# Two processors under a 32-bit kernel, each on a thread of the host; else as linux-i686-cpus2.t, but that a
# busy host may take a processor away in the middle of the kernel's measurement of the PM timer.
memory 256M
cpus 2
clock host
engine $ENGINE
kernel $GUESTS/linux-i686/vmlinuz
initrd $GUESTS/linux-i686/initrd
append console=ttyS0,115200 quiet
limit 300
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>' || echo clean-dmes''g\n
serial clean-dmesg
send dmesg | grep -E 'unstable|stall|BUG|WARNING:' || echo clean-tim''e\n
serial clean-time
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-2
send poweroff -f\n
poweroff

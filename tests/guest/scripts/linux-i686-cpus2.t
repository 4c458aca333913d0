# Two processors under a 32-bit kernel. $RATE is what a busy host may cause, which takes a processor away in
# the middle of the kernel's measurement of the PM timer: nothing on threads.
memory 256M
cpus 2
kernel $GUESTS/linux-i686/vmlinuz
initrd $GUESTS/linux-i686/initrd
append console=ttyS0,115200 quiet
limit 120
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>' || echo clean-dmes''g\n
serial clean-dmesg
send dmesg | grep -E 'unstable|stall|BUG|WARNING:$RATE' || echo clean-tim''e\n
serial clean-time
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-2
send poweroff -f\n
poweroff

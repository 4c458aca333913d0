# Debian's kernel, loaded directly: a shell, a clean dmesg, no mitigation that costs anything, a
# reboot, a power-off.
memory 256M
kernel $GUESTS/linux-amd64/vmlinuz
initrd $GUESTS/linux-amd64/initrd
append console=ttyS0,115200
limit 120
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>' || echo clean-dmes''g\n
serial clean-dmesg
send dmesg | grep -E 'unstable|stall|invalid rate|BUG|WARNING:' || echo clean-tim''e\n
serial clean-time
send grep -rE 'SW loop|etpoline|lear CPU buffers' /sys/devices/system/cpu/vulnerabilities || echo no-cos''t\n
serial no-cost
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-1
send reboot -f\n
serial @@READY
serial / #
send poweroff -f\n
poweroff

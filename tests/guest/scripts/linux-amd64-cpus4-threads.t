# Four processors, each on a thread of the host, in the host's time; else as linux-amd64-cpus4.t.
memory 256M
cpus 4
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
send for n in 1 2 3; do echo 0 > /sys/devices/system/cpu/cpu1/online; echo 1 > /sys/devices/system/cpu/cpu1/online; done; echo up-agai''n\n
serial up-again
send for n in 1 2 3 4; do dd if=/dev/urandom bs=64k count=100 2>/dev/null | md5sum >/dev/null & done; wait; echo all-don''e\n
serial all-done
send sed s/^/clock-is-/ /sys/devices/system/clocksource/clocksource0/current_clocksource\n
serial clock-is-tsc
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-4
send poweroff -f\n
poweroff

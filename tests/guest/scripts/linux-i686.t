# Debian's kernel, loaded directly: a shell, an error-free dmesg, a reboot, a power-off.
memory 256M
kernel $GUESTS/linux-i686/vmlinuz
initrd $GUESTS/linux-i686/initrd
append console=ttyS0,115200
limit 120
serial @@READY
serial / #
send dmesg -r | grep '^<[0-3]>'; echo done-$((40 + 2))\n
serial done-42
send uname -m; cat /proc/cpuinfo | grep -c ^processor\n
serial 1
send reboot -f\n
serial @@READY
serial / #
send poweroff -f\n
poweroff

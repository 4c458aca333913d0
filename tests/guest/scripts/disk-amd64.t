# From power-on: SeaBIOS, GRUB on an IDE disk, Debian's kernel, a shell, power-off.
memory 256M
disk $GUESTS/disk-amd64/disk.img
limit 60
serial @@GRUB
limit 120
serial @@READY
serial / #
send poweroff -f\n
poweroff

# Debian's 32-bit kernel wants a Pentium Pro, and says so to what is less.
model pentium
kernel $GUESTS/linux-i686/vmlinuz
initrd $GUESTS/linux-i686/initrd
screen This kernel requires the following features not present on the CPU:
screen cmov

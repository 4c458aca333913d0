# Debian's 32-bit kernel wants a Pentium Pro, and says so to what is less.
model 486
kernel $GUESTS/linux-i686/vmlinuz
initrd $GUESTS/linux-i686/initrd
screen This kernel requires an i586 CPU, but only detected an i486 CPU.

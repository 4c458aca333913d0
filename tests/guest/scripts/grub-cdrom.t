# GRUB's rescue CD.
memory 32M
cdrom $GUESTS/grub/usr/lib/grub-rescue/grub-rescue-cdrom.iso
boot d
screen GNU GRUB
type c
screen grub>
type ls\n
screen (cd)

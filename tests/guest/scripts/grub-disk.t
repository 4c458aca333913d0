# GRUB's rescue image as a hard disk.
memory 32M
disk $GUESTS/grub/usr/lib/grub-rescue/grub-rescue-usb.img
boot c
screen GNU GRUB
type c
screen grub>
type ls\n
screen (hd0)

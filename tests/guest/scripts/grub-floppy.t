# GRUB's rescue floppy: the prompt, and its view of the drives.
memory 32M
floppy $GUESTS/grub/usr/lib/grub-rescue/grub-rescue-floppy.img
boot a
screen GNU GRUB
type c
screen grub>
type ls\n
screen (fd0)

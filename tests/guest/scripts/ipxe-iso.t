# iPXE from its CD image: banner and command line.
memory 64M
cdrom $GUESTS/ipxe/usr/lib/ipxe/ipxe.iso
boot d
screen iPXE 1.
screen Ctrl-B
press ctrl-b
screen iPXE>
type help\n
screen config

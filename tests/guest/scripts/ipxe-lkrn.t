# iPXE as a kernel image, loaded directly: banner and command line.
memory 64M
kernel $GUESTS/ipxe/boot/ipxe.lkrn
screen iPXE 1.
screen Ctrl-B
press ctrl-b
screen iPXE>
type help\n
screen config

# iPXE as a kernel image, loaded directly.
memory 64M
kernel $GUESTS/ipxe/boot/ipxe.lkrn
screen iPXE 1.

# What ./bootstrap run shows in the window: a greeting, and a shell that the keyboard reaches.
memory 512M
kernel $GUESTS/demo/vmlinuz
initrd $GUESTS/demo/initrd
append console=tty0
limit 120
screen To leave:
screen / #
type uname -m\n
screen x86_64
type sleep 1; poweroff\n
poweroff

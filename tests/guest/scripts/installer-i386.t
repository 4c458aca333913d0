# The Debian installer from its mini.iso: ISOLINUX's menu in graphics, and the first question of the
# text installer. The kernel is told to keep the text mode, and the installer no frame buffer.
memory 1G
cdrom $GUESTS/installer/mini-i386.iso
boot d
limit 20
graphics 640x480
run 1
press tab
type  vga=normal fb=false modprobe.blacklist=bochs\n
limit 200
screen Select a language
screen English

# memtest86+ ia32, 1 virtual CPU(s): one whole pass over all memory without an error.
memory $MEMTEST
cpus 1
model max
cdrom $GUESTS/memtest/usr/lib/memtest86+/memtest86+ia32.iso
boot d
limit 30
screen Memtest86+
limit 4000
screen Pass:  1
screen Errors: 0

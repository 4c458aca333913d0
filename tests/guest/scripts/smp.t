# Four processors, all busy: the measuring guest (tests/bench) with a shell on its serial line. What is
# waited for is spelled so that the echo of the command is not taken for its answer.
memory 1G
cpus 4
clock host
disk $GUESTS/measuring/disk.img
kernel $GUESTS/measuring/vmlinuz
initrd $GUESTS/measuring/initrd
append console=ttyS0,115200 rw panic=-1 nokaslr bench=shell
limit 600
serial @@READY
serial #
send grep -c ^processor /proc/cpuinfo | sed s/^/processors-/\n
serial processors-4
send stress-ng --cpu 4 --verify --timeout 20s && echo stress-ng-was-`echo fine`\n
serial successful run completed
serial stress-ng-was-fine
send taskset -c 3 grep ^Cpus_allowed_list /proc/self/status\n
serial Cpus_allowed_list:
noserial soft lockup
noserial detected stalls
noserial Call Trace

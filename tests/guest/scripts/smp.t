# Four processors, all busy: the measuring guest with a shell on its serial line.
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
send echo processors-$(grep -c ^processor /proc/cpuinfo)-$(nproc)\n
serial processors-4-4
send stress-ng --cpu 4 --verify --timeout 20s; echo stress-ng-status-$?\n
serial successful run completed
serial stress-ng-status-0
send for c in 0 1 2 3; do taskset -c $c true || echo bad; done; echo ran-on-$((2 + 2))\n
serial ran-on-4
noserial soft lockup
noserial rcu_preempt detected stalls
noserial Call Trace

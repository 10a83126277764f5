#!/bin/sh
# The first process of the kernel that tools/vm.py boots. Its root is hostfs, mounted read-only: the machine's own files.
# What it prints goes to the kernel's log, which vm.py shows when no status comes back. If it fails, the kernel panics and ends.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

private=${0%/*}         # vm.py's temporary directory
exec 4<"$private/command" # opened here, since neither the new root nor an ordinary user sees that directory

# A root that is written to in memory alone, and an overlay as in Docker.
modules=/usr/lib/uml/modules/$(uname -r)/kernel
insmod "$modules/fs/overlayfs/overlay.ko"
mount -t tmpfs tmpfs "$private/tmpfs"
cd "$private/tmpfs"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir="$PWD/upper",workdir="$PWD/work" root
cd root
mount -t proc proc proc
pivot_root . tmp
cd /
umount -l /tmp

mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -sf pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
echo uml >/proc/sys/kernel/hostname
for module in lib/crc-ccitt net/ipv6/ipv6 drivers/net/veth net/sched/sch_netem net/sched/sch_tbf \
    net/llc/llc net/802/stp net/bridge/bridge; do
    insmod "$modules/$module.ko" || true # not every build of the kernel has them as modules
done
ip link set lo up # after ipv6, which gives it ::1

# As an ordinary user in a delegated group: what systemd gives with Delegate=yes.
become=
group=/sys/fs/cgroup
if [ -n "${vm_user-}" ]; then
    echo "+cpu +io +memory +pids" >$group/cgroup.subtree_control
    group=$group/user
    mkdir $group
    chown 1000:1000 $group $group/cgroup.procs $group/cgroup.subtree_control $group/cgroup.threads /dev/tty1
    become="setpriv --reuid=1000 --regid=1000 --clear-groups"
fi

exec 5>/dev/tty1        # the command's output; held open, for a terminal forgets its settings when nobody has it open
stty -F /dev/tty1 raw   # no carriage returns
status=0
(
    echo 0 >$group/cgroup.procs
    exec $become sh
) <&4 4<&- 5>&- >/dev/tty1 2>&1 || status=$?
kill -KILL -1           # everything but us: what the command left in the background writes no more
stty -F /dev/tty1 raw   # returns when all of the output is out
echo $status >/dev/tty2
exec sleep 60           # vm.py ends this kernel, now that it has the status

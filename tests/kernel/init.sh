#!/bin/busybox sh
# The first process of the virtual machine. Its root becomes a tmpfs, because nobody can
# pivot_root away from the one it is started with.
B=/bin/busybox
if [ ! -e /moved ]; then
  $B mkdir /new
  $B mount -t tmpfs -o size=400m,mode=755 root /new
  $B cp -a /bin /usr /lib /lib64 /etc /src /init /new/
  : > /new/moved
  exec $B switch_root /new /init
fi
$B mkdir -p /proc /sys /dev /tmp /run /root /var
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
$B mount -t tmpfs -o mode=1777 tmp /tmp
$B mount -t cgroup2 cgroup2 /sys/fs/cgroup
$B ip link set lo up
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1
/usr/bin/python3 /src/guest.py 2>&1
$B poweroff -f

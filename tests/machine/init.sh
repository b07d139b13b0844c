#!/bin/sh
# First process of a test machine: makes the container's kernel file systems writable, as on real
# hardware, then becomes systemd.
set -u
set -- /lib/systemd/systemd "$@"
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
    for hierarchy in /sys/fs/cgroup/*; do
        mountpoint -q "$hierarchy" && mount -o remount,bind,rw "$hierarchy"
    done
    set -- "$@" SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0
else
    mount -o remount,bind,rw /sys/fs/cgroup
fi
mount -o remount,bind,rw /sys
# Docker hides these; a nested Docker must be able to hide them again for its own containers.
for path in /proc/sys /proc/bus /proc/fs /proc/irq /proc/sysrq-trigger /proc/acpi /proc/asound \
    /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/sched_debug /proc/scsi \
    /sys/firmware; do
    mountpoint -q "$path" || continue
    umount "$path" 2>/dev/null || mount -o remount,bind,rw "$path"
done
mount --make-rshared /
exec "$@"

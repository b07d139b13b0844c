#!/usr/bin/env bash
# without-systemd.sh NAME STORE: a bare machine whose PID 1 is a mere reaper, as in many containers and small virtual
# machines, with the images in the volume STORE. `machine.sh remove NAME` removes it. The flags are machine.sh's; /run is
# no tmpfs, for nothing fills it at boot.
set -euo pipefail
name=${1:?NAME} store=${2:?STORE}
machine=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tests/machine" && pwd)/machine.sh
image=$("$machine" build bare12)
"$machine" remove "$name"
mounts=(--volume "${JHH_CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}:/etc/ssl/certs/ca-certificates.crt:ro")
if grep -qs index-url /etc/pip.conf; then mounts+=(--volume /etc/pip.conf:/etc/pip.conf:ro); fi
# The machine's own first process, but that it ends in sleep instead of systemd.
# shellcheck disable=SC2016 # the machine's shell expands these
docker run --detach --init --name "$name" --hostname "$name" \
    --cap-add ALL --cap-drop SYS_RESOURCE \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --device-cgroup-rule 'a *:* rwm' --cgroupns=private \
    --tmpfs /tmp:exec,mode=1777 --volume "$store:/var/lib/docker" "${mounts[@]}" "$image" \
    sh -c 'sed "s/^exec .*/exec sleep infinity/" /usr/local/sbin/machine-init >/run/init && exec sh /run/init' >/dev/null

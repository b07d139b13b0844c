#!/usr/bin/env bash
# Test machines: Debian with systemd in a container.
#
#   machine.sh build KIND                      make the image once; print its reference
#   machine.sh boot NAME KIND [STORE [new]]    build, boot and wait; STORE names the volume for the
#                                              nested /var/lib/docker (default NAME-docker), `new`
#                                              empties it first
#   machine.sh address NAME                    print the machine's IP address
#   machine.sh remove NAME                     stop and remove the machine and its own volumes
#   machine.sh clean                           remove every jhh- container, volume and network
#
# KIND is one with Docker, trixie (Debian 13) or containerd (the same with Docker from Debian testing, and containerd's
# image store), or a minimal one, bookworm, bare12, bare13 or forky (Debian testing). A STORE with a name of its own
# outlives the machine, so that the next one with that engine or a newer finds the images that were built there;
# containers, volumes and networks in it are not kept.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ca_bundle=${JHH_CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}


die() {
    printf 'machine.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# What Debian's standard system has that a test or Ansible meets on a target.
standard=systemd-sysv,dbus,libpam-systemd,python3,python3-apt,python3-debian,sudo,iproute2,iptables,ca-certificates,procps,kmod

# Sets suite, packages beside what Debian cannot do without, another suite that some come from, user, Docker's
# daemon.json, and where the host's CA bundle goes.
recipe() {
    user='' other='' daemon='{}' bundle=/etc/ssl/certs/ca-certificates.crt
    case $1 in
        trixie)
            suite=trixie packages=$standard,docker.io,docker-cli,docker-compose,docker-buildx
            ;;
        containerd)
            suite=trixie other=forky
            packages=$standard,docker.io/forky,docker-cli/forky,docker-compose/forky,docker-buildx/forky
            daemon='{"features": {"containerd-snapshotter": true}}'
            ;;
        bookworm) # what a target over ssh must have
            suite=bookworm packages=systemd-sysv,python3,openssh-server,sudo
            # Where an owner puts a CA; the package ca-certificates, which comes later, makes the bundle with it.
            bundle=/usr/local/share/ca-certificates/host.crt
            ;;
        bare12) # what a clone takes
            suite=bookworm packages=systemd-sysv,python3,ca-certificates,git,make
            ;;
        bare13)
            suite=trixie packages=systemd-sysv,python3,ca-certificates,git,make,sudo
            user=kim
            ;;
        forky)
            suite=forky packages=systemd-sysv,python3,ca-certificates,sudo,procps
            # Testing's systemd boots with version 2 of cgroups alone; where the host has version 1, Debian 13's does.
            if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
                other=trixie packages=$packages,systemd-sysv/trixie,systemd/trixie,libsystemd-shared/trixie,libsystemd0/trixie
            fi
            ;;
        *) die "no such kind of machine: $1 (trixie, containerd, bookworm, bare12, bare13 or forky)" ;;
    esac
}

# The Debian mirrors this host uses, as lines for mmdebstrap; nothing where it uses none.
mirrors() {
    local label uri name
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Identifier: Packages' 'Component: main' \
        2>/dev/null | sort -u | while IFS='|' read -r label uri; do
        case $label in
            Debian)
                # A mirror's copy of testing may be old; that the newest packages come is not what is tested.
                for name in "$suite" $other; do
                    if [ "$name" = forky ]; then
                        printf 'deb [check-valid-until=no] %s forky main\n' "$uri"
                    else
                        printf 'deb %s %s main\ndeb %s %s-updates main\n' "$uri" "$name" "$uri" "$name"
                    fi
                done
                ;;
            Debian-Security) if [ "$suite" != forky ]; then printf 'deb %s %s-security main\n' "$uri" "$suite"; fi ;;
        esac
    done
}

build() {
    recipe "$1"
    local image hooks work
    image=jhh-machine-$1:$(
        {
            declare -f build
            mirrors
            printf '%s\n' "$suite" "$packages" "$other" "$user" "$daemon"
            cat "$here/init.sh"
        } | sha256sum | cut -c1-12
    )
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image"
        return
    fi
    echo "building $image" >&2
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # $work is local: expand it now
    trap "as_root rm -rf '$work'" EXIT
    mirrors >"$work/sources.list"
    # shellcheck disable=SC2016 # in a hook, mmdebstrap's shell expands $1 to the chroot
    hooks=(
        # policy-rc.d keeps the packages from starting services inside the chroot.
        --essential-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"'
        --essential-hook='chmod 755 "$1/usr/sbin/policy-rc.d"'
        --customize-hook='rm -f "$1/usr/sbin/policy-rc.d" "$1/etc/resolv.conf" "$1/etc/hostname"'
        --customize-hook=': >"$1/etc/machine-id"'
        --customize-hook='cd "$1/etc/apt"; cat sources.list.d/*.list >sources.list; rm sources.list.d/*.list'
        --customize-hook="sed -i '/ ${other:-none}[ -]/d' \"\$1/etc/apt/sources.list\""
        --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"'
        --customize-hook="mkdir -p \"\$1/etc/docker\"; echo '$daemon' >\"\$1/etc/docker/daemon.json\""
        --customize-hook="upload '$here/init.sh' /usr/local/sbin/machine-init"
        --customize-hook='chmod 755 "$1/usr/local/sbin/machine-init"'
    )
    if [ -n "$user" ]; then
        hooks+=(
            --customize-hook="chroot \"\$1\" useradd --create-home --shell /bin/bash $user"
            --customize-hook="echo '$user ALL=(ALL) NOPASSWD: ALL' >\"\$1/etc/sudoers.d/$user\""
        )
    fi
    set -- "$1" "$suite" "$work/root.tar"
    if [ -s "$work/sources.list" ]; then set -- "$@" "$work/sources.list"; fi
    # A package comes from the other suite only where it is asked for.
    as_root mmdebstrap --quiet --aptopt="APT::Default-Release \"$suite\"" \
        --aptopt='APT::Get::allow-downgrades "true"' --variant=minbase --include="$packages" "${hooks[@]}" "${@:2}" >&2
    docker import --change 'CMD ["/usr/local/sbin/machine-init"]' --change 'ENV container=docker' \
        "$work/root.tar" "$image" >/dev/null
    docker image ls --format '{{.Repository}}:{{.Tag}}' "jhh-machine-$1" | grep -Fxv "$image" \
        | xargs --no-run-if-empty docker image rm >/dev/null 2>&1 || true # one may be in use
    echo "$image"
}

boot() {
    local name=$1 kind=$2 store=${3:-$1-docker} image mounts=()
    case $name in jhh-*) ;; *) die "a machine's name begins with jhh-: $name" ;; esac
    recipe "$kind"
    image=$(build "$kind")
    remove "$name"
    if [ "${4:-}" = new ]; then docker volume rm --force "$store" >/dev/null; fi
    # A machine that was killed leaves containers behind in its store; without this their restart
    # policies would bring them up in the next one.
    docker run --rm --name "$name-store" --volume "$store:/store" "$image" sh -c '
        cd /store && rm -rf containers/* volumes/* network/files swarm engine-id image/*/layerdb/mounts/*'
    # What the host's owner set for packages holds in the machine too; the CA must do without.
    if grep -qs index-url /etc/pip.conf; then
        mounts+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
    fi
    # Not --privileged: it fails where the kernel denies SYS_RESOURCE to root.
    docker run --detach --tty --stop-signal SIGRTMIN+3 --name "$name" --hostname "$name" \
        --cap-add ALL --cap-drop SYS_RESOURCE \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --device-cgroup-rule 'a *:* rwm' --cgroupns=private \
        --tmpfs /run:mode=755,exec --tmpfs /run/lock --tmpfs /tmp:exec,mode=1777 \
        --volume "$store:/var/lib/docker" --volume "$name-containerd:/var/lib/containerd" \
        --volume "$ca_bundle:$bundle:ro" "${mounts[@]}" \
        "$image" >/dev/null
    for _ in $(seq 120); do
        case $(docker exec "$name" systemctl is-system-running 2>/dev/null || true) in
            running | degraded) return ;;
        esac
        sleep 0.5
    done
    docker logs --tail 30 "$name" >&2
    die "$name did not boot"
}

remove() {
    if docker container inspect "$1" >/dev/null 2>&1; then
        docker exec "$1" sh -c '
            docker info >/dev/null 2>&1 || exit 0
            docker ps --all --quiet | xargs --no-run-if-empty docker rm --force
            docker volume ls --quiet | xargs --no-run-if-empty docker volume rm
            docker network prune --force' >/dev/null 2>&1 || true
        docker stop --time 20 "$1" >/dev/null 2>&1 || true
        docker rm --force --volumes "$1" >/dev/null
    fi
    docker volume rm --force "$1-docker" "$1-containerd" >/dev/null
}

clean() {
    local name
    docker ps --all --filter name=^jhh- --format '{{.Names}}' | while read -r name; do
        remove "$name" </dev/null
    done
    docker volume ls --quiet --filter name=^jhh- | xargs --no-run-if-empty docker volume rm >/dev/null
    docker network ls --quiet --filter name=^jhh- | xargs --no-run-if-empty docker network rm >/dev/null
}

case ${1:-} in
    build) build "${2:?KIND}" ;;
    boot) boot "${2:?NAME}" "${3:?KIND}" "${@:4}" ;;
    address) docker inspect --format '{{.NetworkSettings.IPAddress}}' "${2:?NAME}" ;;
    remove) remove "${2:?NAME}" ;;
    clean) clean ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

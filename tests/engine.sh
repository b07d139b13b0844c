#!/usr/bin/env bash
# The tests' own host: its packages and its Docker engine.
#
#   engine.sh packages   install what the tests need and the host lacks
#   engine.sh start      make sure that an engine answers
#   engine.sh stop       stop what `start` started; an engine that ran before is left alone
set -euo pipefail
state=${XDG_CACHE_HOME:-$HOME/.cache}/jupyterhub-home-tests
started=$state/engine.started # one line: how `start` brought the engine up
log=$state/dockerd.log

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes \
        --no-install-recommends "$@" >/dev/null
}

# Installs the packages whose program is missing: pairs of program and package.
packages() {
    local missing=() pair
    for pair in mmdebstrap:mmdebstrap chromium:chromium ssh:openssh-client git:git make:make; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ "${#missing[@]}" -eq 0 ] || install "${missing[@]}"
}

answers() { docker info >/dev/null 2>&1; }

# Waits up to the given number of seconds for the engine. An ordinary user is handed the socket: the
# group `docker` would need a new login.
wait_for_engine() {
    local _
    for _ in $(seq "$1"); do
        if as_root docker info >/dev/null 2>&1; then
            answers || as_root chown "$(id -un)" /var/run/docker.sock
            answers && return
        fi
        sleep 1
    done
    return 1
}

start() {
    if answers; then return; fi
    mkdir -p "$state"
    if ! command -v dockerd >/dev/null && ! [ -x /usr/sbin/dockerd ]; then
        if apt-cache show docker-cli >/dev/null 2>&1; then install docker.io docker-cli; else install docker.io; fi
        # The package may have started it, with systemd or by its init script.
        if [ -d /run/systemd/system ]; then echo systemd >"$started"; else echo init >"$started"; fi
        wait_for_engine 5 && return
    fi
    if as_root docker info >/dev/null 2>&1; then
        wait_for_engine 1 # it ran before; only the permission was missing
        return
    fi
    if [ -d /run/systemd/system ]; then
        echo systemd >"$started"
        as_root systemctl start docker
        wait_for_engine 30 && return
    elif [ -x /etc/init.d/docker ]; then
        echo init >"$started"
        # Its ulimit line fails where the kernel denies SYS_RESOURCE; then dockerd itself still runs.
        if as_root /etc/init.d/docker start >/dev/null 2>&1 && wait_for_engine 10; then return; fi
    fi
    # shellcheck disable=SC2016 # the inner shell expands these
    as_root sh -c 'setsid nohup /usr/sbin/dockerd >"$1" 2>&1 & echo "pid $!" >"$2"' \
        sh "$log" "$started"
    wait_for_engine 60 && return
    tail -n 20 "$log" >&2
    echo 'engine.sh: no Docker engine answers' >&2
    return 1
}

stop() {
    [ -f "$started" ] || return 0
    local how pid _
    read -r how pid <"$started"
    case $how in
        systemd) as_root systemctl stop docker.service docker.socket ;;
        init) as_root /etc/init.d/docker stop >/dev/null ;;
        pid)
            as_root kill "$pid" 2>/dev/null || true
            for _ in $(seq 60); do
                # Gone, or a zombie that nobody reaps.
                grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status" || break
                sleep 0.5
            done
            ;;
    esac
    as_root rm -f "$started"
}

case ${1:-} in
    packages | start | stop) "$1" ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

#!/bin/bash
# Makes every lock again from its .in file: requirements/lock.sh [--upgrade]
# Without --upgrade, only what the .in files changed moves. Needs uv (PyPI) on PATH or in $UV.
#
# The Python locks serve 3.11 and later, carry the hashes of PyPI and name no index, so that a mirror
# can serve them.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
images=roles/jupyterhub_home/files/images
upgrade=("$@")
# A network that inspects TLS is known to the machine's bundle alone.
bundle=/etc/ssl/certs/ca-certificates.crt
if [ -z "${SSL_CERT_FILE:-}" ] && [ -f "$bundle" ]; then export SSL_CERT_FILE=$bundle; fi

lock() { # FILE.in [OPTION …]: makes FILE.txt
    local in=$1
    shift
    # A folder of wheels that this machine's pip knows would put its own hashes into the lock.
    env -u UV_FIND_LINKS "$uv" --no-config pip compile --quiet "${upgrade[@]}" \
        --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links \
        "$@" --output-file "${in%.in}.txt" "$in"
    echo "${in%.in}.txt"
}

lock requirements/ansible.in
lock requirements/test.in
lock requirements/fuzz.in
lock requirements/audit.in
lock "$images/hub/requirements.in" --override "$images/hub/overrides.txt"
lock "$images/user/requirements.in" --override "$images/user/overrides.txt"
lock "$images/proxy/requirements.in"
lock roles/jupyterhub_home/files/compose/requirements.in

# The proxy's version stands in package.json. npm is the one that the image is built with.
node=$(mktemp -d)
trap 'rm -rf "$node"' EXIT
"$uv" --no-config venv --quiet "$node/venv"
"$uv" --no-config pip install --quiet --python "$node/venv" --require-hashes -r "$images/proxy/requirements.txt"
cp "$images/proxy/package.json" "$node/"
[ ${#upgrade[@]} -gt 0 ] || cp "$images/proxy/package-lock.json" "$node/" 2>/dev/null || true
PATH=$node/venv/bin:$PATH npm --prefix "$node" install --package-lock-only --ignore-scripts \
    --omit-lockfile-registry-resolved --no-audit --no-fund --silent
cp "$node/package-lock.json" "$images/proxy/"
echo "$images/proxy/package-lock.json"

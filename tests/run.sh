#!/usr/bin/env bash
# run.sh STAGE...: runs test stages in turn, prints how long each took, and fails when one failed.
# Stages: lint, unit, input, bench, or the name of a molecule scenario.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

venv=$(make --no-print-directory test-venv-path)
make --no-print-directory test-venv || exit 1
PATH=$venv/bin:$PATH
export PATH
# Molecule keys its state on the folder's name, which another checkout may share.
state=$(mktemp -d)
export PY_COLORS=0 ANSIBLE_FORCE_COLOR=0 ANSIBLE_NOCOLOR=1

engine=
finish() {
    rm -rf "$state"
    if [ -n "$engine" ]; then
        tests/machine/machine.sh clean # what an interrupted scenario left, and the stores of images
        tests/engine.sh stop
    fi
}
trap finish EXIT

# Installs and starts what the stages with machines need, once.
need_engine() {
    if [ -z "$engine" ]; then
        engine=started
        tests/engine.sh packages && tests/engine.sh start
    fi
}

# Linters miss deprecation warnings, so running code must not print one.
without_deprecations() {
    local log
    log=$(mktemp)
    "$@" 2>&1 | tee "$log"
    local status=${PIPESTATUS[0]}
    if grep -n -A3 'DEPRECATION WARNING' "$log"; then
        echo "Failed: deprecation warnings, above."
        status=1
    fi
    rm -f "$log"
    return "$status"
}

stage() {
    case $1 in
        lint) tests/lint.sh ;;
        unit) without_deprecations python -m pytest tests/unit ;;
        input) without_deprecations python -m pytest tests/input ;;
        bench) need_engine && python bench/bench.py --write ;;
        *)
            need_engine && MOLECULE_EPHEMERAL_DIRECTORY=$state/$1 \
                without_deprecations molecule test --no-command-borders --scenario-name "$1"
            ;;
    esac
}

failed=()
report=
for name in "$@"; do
    printf '\n=== %s\n' "$name"
    before=$SECONDS
    outcome=passed
    stage "$name" || { outcome=FAILED && failed+=("$name"); }
    report+=$(printf '%-12s %-7s %4d s' "$name" "$outcome" $((SECONDS - before)))$'\n'
done
printf '\n=== stages\n%s%-12s %-7s %4d s\n' "$report" all "" "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'Failed: %s\n' "${failed[*]}"
    exit 1
fi

#!/usr/bin/env bash
# run.sh STAGE... [-- STAGE...]: runs test stages in turn, prints how long each took, and fails when one failed that is
# not only to warn.
# Stages: lint, unit, input, bench, or the name of a molecule scenario. Those behind -- run beside the others: most of
# the time goes to waiting. What they print comes at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
warning=forky # the stage of a system that the role is tried on, and not promised for

venv=$(make --no-print-directory test-venv-path)
make --no-print-directory test-venv || exit 1
PATH=$venv/bin:$PATH
export PATH
# Molecule keys its state on the folder's name, which another checkout may share.
state=$(mktemp -d)
export PY_COLORS=0 ANSIBLE_FORCE_COLOR=0 ANSIBLE_NOCOLOR=1

engine=
beside=
finish() {
    if [ -n "$beside" ]; then kill -- "-$beside" 2>/dev/null; fi # interrupted
    rm -rf "$state"
    if [ -n "$engine" ]; then
        tests/machine/machine.sh clean # what an interrupted scenario left, and the stores of images
        tests/engine.sh stop
    fi
}
trap finish EXIT
trap "exit 143" TERM HUP # bash alone would skip the line above

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
        bench) python bench/bench.py --write ;;
        *)
            MOLECULE_EPHEMERAL_DIRECTORY=$state/$1 \
                without_deprecations molecule test --no-command-borders --scenario-name "$1"
            ;;
    esac
}

# Runs stages in turn; a line about each goes into the report.
lane() {
    local name before outcome
    for name in "$@"; do
        printf '\n=== %s\n' "$name"
        before=$SECONDS
        outcome=passed
        if ! stage "$name" 2>&1 | tee "$state/$name.log"; then
            if [ "$name" = "$warning" ]; then outcome=warned; else outcome=FAILED; fi
        fi
        printf '%-12s %-7s %4d s\n' "$name" "$outcome" $((SECONDS - before)) >>"$state/report"
    done
}

if printf '%s\n' "$@" | grep -qvxE -e '--|lint|unit|input'; then
    engine=started
    tests/engine.sh packages && tests/engine.sh start || exit 1
    tests/machine/machine.sh clean # what a run left that was killed: a volume in use cannot be made anew
fi
wanted=$(printf '%s\n' "$@" | grep -cvxe --)
first=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    first+=("$1")
    shift
done
if [ $# -gt 1 ]; then
    set -m # a process group of its own, to be ended as one
    lane "${@:2}" >"$state/beside" 2>&1 &
    beside=$!
    set +m
fi
lane "${first[@]}"
if [ -n "$beside" ]; then
    wait "$beside"
    beside=
    cat "$state/beside"
fi
printf '\n=== stages\n%s\n%-12s %-7s %4d s\n' "$(cat "$state/report")" all "" "$SECONDS"
# What failed, once more where it is read first.
while read -r name outcome _; do
    printf '\n=== %s %s\n' "$name" "${outcome,,}"
    grep -aE '^(FAILED|ERROR|E  |fatal:|Failed)' "$state/$name.log" | cut -c1-300 | tail -n 60
done < <(grep -E 'FAILED|warned' "$state/report")
# A lane that was killed has not written of all its stages.
[ "$(grep -cE 'passed|warned' "$state/report")" -eq "$wanted" ]

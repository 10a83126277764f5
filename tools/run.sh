#!/bin/sh
# The two commands of the README: `sh tools/run.sh example` and `sh tools/run.sh tests`.
# Makes .venv beside the project, installs into it and runs. Needs Python 3.10 and nothing else.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    else
        echo "this Python has no venv module: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
pip() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }

case "${1:-}" in
example)
    pip .
    cd example_project && exec ../.venv/bin/python -m pytest -p isolate
    ;;
tests | environments)
    pip 'tox>=4'
    # one interpreter and the newest pytest here; `.venv/bin/tox` runs every combination that this machine has
    version=$(.venv/bin/python -c 'import sys; print(f"py{sys.version_info[0]}{sys.version_info[1]}")')
    envs="lint,types,imports,$version-pytestnew${EXTRA_ENVS:+,$EXTRA_ENVS}"
    # made all at once, for that is downloads and single processes; CI does it while it installs other things
    [ -n "${ENVIRONMENTS_ARE_MADE:-}" ] || .venv/bin/tox run-parallel --notest --parallel-no-spinner -e "$envs"
    [ "$1" = environments ] || exec .venv/bin/tox run --skip-pkg-install -e "$envs"
    ;;
*)
    echo "usage: sh tools/run.sh example|tests" >&2
    exit 2
    ;;
esac

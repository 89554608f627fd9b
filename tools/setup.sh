#!/bin/sh
# The environment in .venv, from nothing but Python and a network; silent when it already stands.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.sluicegate-setup
lock=src/sluicegate/operations/broker_jars.toml
# The place belongs to it too: the scripts in .venv name the interpreter by its full path.
wanted="$PWD $(cat tools/setup.sh requirements.lock pyproject.toml "$lock" | cksum)"

if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

say() { printf 'setup: %s\n' "$1" >&2; }

# A name on the path is not enough: it may be a version manager's stand-in for a version that is
# not there, or a Python without the parts that make a virtual environment.
usable='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
find_python() {
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c "$usable" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    say "no Python 3.11, 3.12 or 3.13 with the venv module is on the path"
    say "install one, on Debian or Ubuntu with: apt install python3 python3-venv"
    return 1
}

if ! .venv/bin/python -c "$usable" >/dev/null 2>&1 ||
    { [ -f $stamp ] && [ "$(sed 's/ [0-9]* [0-9]*$//' $stamp)" != "$PWD" ]; }; then
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
rm -f $stamp

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    uv=.venv/bin/uv
    [ -x $uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
fi

say "installing what requirements.lock names"
VIRTUAL_ENV="$PWD/.venv"
export VIRTUAL_ENV
quiet=--quiet
if [ -t 2 ]; then quiet=; fi
# Each part is a process of its own: bytecode that is not there would cost each start two seconds.
"$uv" pip sync $quiet --require-hashes --compile-bytecode requirements.lock
"$uv" pip install --quiet --no-deps --no-build-isolation --editable .
.venv/bin/python -m compileall -q src

.venv/bin/python -m sluicegate.operations.faststart

say "compiling the kernels"
.venv/bin/python -m sluicegate.operations.warm

printf '%s\n' "$wanted" >$stamp
say "done"

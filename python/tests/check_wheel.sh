#!/usr/bin/env bash
# The wheel of a build, installed into an environment that has nothing but NumPy, runs the README's example.
#   check_wheel.sh PYTHON BUILT WORK
set -euo pipefail
python=$1 built=$2 work=$3
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

rm -rf "$work"
mkdir -p "$work"
begin=$(date +%s%N)
wheel=$(PYTHON=$python "$root/scripts/make_wheel.sh" "$work/dist" "$built")
echo "$(basename "$wheel"): $(stat -c %s "$wheel") bytes, made in $((($(date +%s%N) - begin) / 1000000)) ms"

"$python" -m venv "$work/venv"
begin=$(date +%s%N)
"$work/venv/bin/pip" --disable-pip-version-check install -q "$wheel" numpy
echo "installed in $((($(date +%s%N) - begin) / 1000000)) ms"
unset PYTHONPATH
cd "$work"
printed=$("$work/venv/bin/python" "$root/examples/grouped_gemm.py")
echo "$printed"
[ "$(head -n 1 <<<"$printed")" = "[64. 64. 32. 32. 32. 32.]" ]
[ "$("$work/venv/bin/expertile" --version)" = "expertile $("$work/venv/bin/python" -c 'import expertile; print(expertile.__version__)')" ]
# Nothing of the machine's but libc, libstdc++ and what they need.
outside=$(ldd "$work"/venv/lib/python*/site-packages/expertile/_core.abi3.so | awk '{print $1}' |
  grep -vE '^(linux-vdso|/lib64/ld-linux|/lib/ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)\.so|lib(fmt|gomp|pcre2-8|spdlog)-)' || true)
[ -z "$outside" ] || { echo "the wheel needs $outside"; exit 1; }

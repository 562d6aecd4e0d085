#!/usr/bin/env bash
# Sets up, builds what is not built, and runs `expertile tune` with the arguments given here.
# Everything before the tool itself goes to standard error, so that --json leaves a clean document.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

"$root/scripts/setup.sh" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cd "$root"
[ -x build/release/expertile ] || echo "building expertile (once, a few minutes on a small machine)" >&2
if ! { cmake --preset release && cmake --build build/release --target expertile_cli; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "run_tuning.sh: the build failed" >&2
  exit 1
fi
rm -f "$log"
cd "$OLDPWD"  # paths among the arguments are the caller's

exec "$root/build/release/expertile" tune "$@"

#!/usr/bin/env bash
# The main job: sets up, builds what is missing, and runs `expertile tune` with the options given.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Build chatter goes to standard error, so that --json leaves one document on standard output.
"$root/scripts/setup.sh" >&2
"$root/scripts/build.sh" release expertile_cli >&2
exec "$root/build/release/expertile" tune "$@"

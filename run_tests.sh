#!/usr/bin/env bash
# Sets up, builds, and runs every test this machine can run.
#   ./run_tests.sh              release build
#   ./run_tests.sh --sanitize   under AddressSanitizer and UndefinedBehaviorSanitizer
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"

preset=test
case "${1:-}" in
  "") ;;
  --sanitize) preset=sanitize ;;
  *)
    echo "run_tests.sh: '$1' is not known; give nothing or --sanitize" >&2
    exit 2
    ;;
esac
scripts/setup.sh
scripts/build.sh "$preset"
ctest --preset "$preset"

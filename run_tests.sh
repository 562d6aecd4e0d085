#!/usr/bin/env bash
# Sets up, builds and runs every test that this machine can run.
#   ./run_tests.sh             the release build
#   ./run_tests.sh --sanitize  under AddressSanitizer and UndefinedBehaviorSanitizer
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

preset=test
case "${1:-}" in
  "") ;;
  --sanitize) preset=sanitize ;;
  *)
    echo "run_tests.sh: option '$1' is not known; choose --sanitize or nothing" >&2
    exit 2
    ;;
esac

scripts/setup.sh
cmake --preset "$preset"
cmake --build --preset "$preset"
ctest --preset "$preset"

#!/usr/bin/env bash
# Sets up, builds and runs every test that this machine can run.
#   ./run_tests.sh             the release build
#   ./run_tests.sh --sanitize  under AddressSanitizer and UndefinedBehaviorSanitizer
#   ./run_tests.sh --all-kernels  the release build, and every GPU kernel that a tuning may try is compiled, not a sample
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

preset=test
case "${1:-}" in
  "") ;;
  --sanitize) preset=sanitize ;;
  --all-kernels) export EXPERTILE_ALL_KERNELS=1 ;;
  *)
    echo "run_tests.sh: option '$1' is not known; choose --sanitize, --all-kernels or nothing" >&2
    exit 2
    ;;
esac

scripts/setup.sh --test
python=()
if [ "$preset" = test ] && [ -x build/venv/bin/python ]; then
  python=(-DEXPERTILE_PYTHON=ON "-DPython_EXECUTABLE=$PWD/build/venv/bin/python")
fi
cmake --preset "$preset" "${python[@]}"
cmake --build --preset "$preset"
ctest --preset "$preset"

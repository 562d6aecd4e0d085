#!/usr/bin/env bash
# clang-format and clang-tidy over every source; both must have nothing to say.
#   scripts/lint.sh [FILE...]   clang-tidy over these files alone
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --lint

git ls-files -z '*.cpp' '*.hpp' '*.cxx' '*.c' '*.h' | xargs -0 clang-format --dry-run --Werror
# GCC's precompiled headers are none for clang.
cmake --preset test -B build/lint -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'src/*.cpp' 'bench/*.cpp' 'examples/*.cpp'); fi
# GCC's flags that clang does not know are no finding.
printf '%s\0' "${files[@]}" |
  xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p build/lint \
    --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-attributes 2> >(grep -v "warnings generated" >&2)
echo "lint: clean"

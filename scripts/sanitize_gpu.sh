#!/usr/bin/env bash
# Runs a short list of the GPU tests under each tool of compute-sanitizer; all must find nothing. Needs a GPU, the CUDA
# toolkit's compute-sanitizer and a build by ./run_tests.sh. racecheck knows an arrival at a barrier to speak for the lane
# that arrives alone, so there kernels are built in which every lane arrives (kArrivingLanes in kernels/ptx90.hpp).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

tests=build/release/tests/expertile_tests
list='EveryCombinationOnGpu.*/bfloat16:EveryCombinationOnGpu.*/fp8_w8a8_block:EveryCombinationOnGpu.*/int8_w8a16_float16'
list+=':EveryCombinationOnGpu.*/float16_block:*SharedOutOnGpu*:Going.*:BrokenGroupsOnGpu.*/bfloat16'
list+=':EveryLayoutOnGpu.*/masked_bfloat16_block:EveryLayoutOnGpu.*/offsets_32_int8_w8a8_block:MaskedOnGpu.*'
for tool in memcheck racecheck synccheck initcheck; do
  echo "compute-sanitizer --tool $tool"
  tests_of_tool=$list
  unset EXPERTILE_EVERY_LANE_ARRIVES
  if [ "$tool" = racecheck ]; then
    export EXPERTILE_EVERY_LANE_ARRIVES=1
    tests_of_tool+='-Going.*'  # prepares all built-in tiles, some of which spill then, and are refused
  fi
  EXPERTILE_FEW_PROBLEMS=1 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" --gtest_filter="$tests_of_tool" \
    --gtest_brief=1
done

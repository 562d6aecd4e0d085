#!/usr/bin/env bash
# Everything that is shown on a GPU, in one go, after ./run_tests.sh has built it: the tests, the sanitizers, three
# models tuned, the tuned figures timed again under a graph and call by call, the example, and the peers.
#   scripts/check_gpu.sh DIRECTORY [seconds for the peers, default 500]   keeps the logs and tables in DIRECTORY
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: scripts/check_gpu.sh DIRECTORY [seconds for the peers]" >&2
  exit 2
fi
out=$1
peers_seconds=${2:-500}
mkdir -p "$out"
export EXPERTILE_CONFIG_DIR=$out/configs
program=build/release/expertile
tests=build/release/tests/expertile_tests
status=0
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# The host's cost of a call is measured alone, all else side by side.
shards=$(nproc)
for ((i = 0; i < shards; ++i)); do
  GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$i "$tests" --gtest_brief=1 --gtest_filter='-OnGpu.*:CandidateSpace.*' \
    >"$out/tests.$i.log" 2>&1 &
done
for job in $(jobs -p); do wait "$job" || status=1; done
"$tests" --gtest_filter='OnGpu.*' >"$out/tests.on_gpu.log" 2>&1 || status=1
cat "$out"/tests.*.log >"$out/tests.log"
rm -f "$out"/tests.[0-9]*.log
say "tests: $(grep -c '^\[  FAILED  \]' "$out/tests.log") lines of failure, status $status"

if command -v compute-sanitizer >/dev/null; then
  scripts/sanitize_gpu.sh >"$out/sanitize.log" 2>&1 || status=1
  say "sanitizers: $(grep -c 'SUMMARY: 0' "$out/sanitize.log") of 4 tools found nothing"
else
  say "sanitizers: not run, there is no compute-sanitizer"
fi

for model in mixtral-8x7b qwen3-30b-a3b "deepseek-v3 --ep-size 8"; do
  read -ra words <<<"$model"
  "$program" tune --device cuda --model "tests/data/models/${words[0]}" "${words[@]:1}" >"$out/tune.${words[0]}.txt" \
    2>"$out/tune.${words[0]}.err" || status=1
  say "tuned $model"
done
# Twice: the first run may compile what no file brings.
for run in 1 2; do build/release/bench/bench_host_cost --device cuda >"$out/host_cost.$run.txt" 2>&1 || status=1; done
say "host: $(grep -c ' us$' "$out/host_cost.2.txt") figures in host_cost.2.txt"
bench=("$program" bench --quiet --device cuda --model tests/data/models/mixtral-8x7b --batch-size "1,16,64,512")
{ "${bench[@]}" && "${bench[@]}" --eager; } >"$out/bench.txt" 2>&1 || status=1
{ "$program" tune --quiet --device cuda --hidden-size 1024 --batch-size 16 &&
  build/release/example_moe_layer 1024 16 "$out/configs" cuda; } >"$out/example.txt" 2>&1 || status=1
say "bench and example: $(grep -c 'match: exact' "$out/example.txt") of 2 projections run with the tuned file"

# It ends by itself; the cell in hand may take a little longer.
timeout --kill-after=20 $((peers_seconds + 90)) python3 bench/peers.py --seconds "$peers_seconds" --out "$out" \
  >"$out/peers.log" 2>&1 || true
say "peers"
sed -n '/^Geometric/,$p' "$out/peers.md"
exit $status

// Which tiles can run at all on a CPU.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "plan/cpu/family.hpp"
#include "plan/tile_schema.hpp"

namespace expertile::cpu {
namespace {

constexpr std::int64_t kMostScratch = std::int64_t{64} << 20;

}  // namespace

bool supports(const Problem& /*problem*/, const DeviceInfo& device) { return !device.is_gpu(); }

// Packed panels of A and B and the accumulators.
std::int64_t scratch_bytes(const TileConfig& tile) {
  const std::int64_t m = tile.block_size_m;
  const std::int64_t n = tile.block_size_n;
  const std::int64_t panel = ceil_div(tile.block_size_k, 32) * 32;
  return 4 * panel * (m + n) + 8 * m * n + 4 * n;  // float panels of A and B, double accumulators, one row out
}

Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& /*device*/) {
  if (std::string wrong = wrong_field(tile); !wrong.empty()) return fail(ErrorCode::invalid_argument, std::move(wrong));
  TileConfig used = tile;  // a panel never gets longer than K
  used.block_size_k = static_cast<int>(std::min<std::int64_t>(tile.block_size_k, problem.k));
  if (scratch_bytes(used) > kMostScratch) {
    return fail(ErrorCode::unsupported,
                fmt::format("{} needs {} MiB of scratch a thread, at most {} MiB is allowed", describe(tile),
                            ceil_div(scratch_bytes(used), std::int64_t{1} << 20), kMostScratch >> 20));
  }
  return {};
}

}  // namespace expertile::cpu

// How long a tile of Hopper's family should take.

#include <algorithm>
#include <cmath>

#include "kernel_shape.hpp"
#include "plan/gpu/model.hpp"
#include "plan/gpu/rows.hpp"
#include "plan/sm90/family.hpp"
#include "problem/sizes.hpp"

namespace expertile::sm90 {
namespace {

constexpr double kL2BytesPerSecond = 8.5e12;
constexpr double kTileSeconds = 1.2e-6;   // finding a tile and writing it out
constexpr double kStartSeconds = 2.5e-6;  // the ring's first filling, and the end
constexpr double kTensorShare = 0.84;     // of its rate, that power leaves it
constexpr double kKBlockClocks = 80;      // waiting for a k-block, starting its products
constexpr double kDrainClocks = 200;      // waiting for the products' end where sums are promoted
// Limits that lie near each other add up: the norm of this power of all fits 45 tiles of 4 dtypes (Mixtral, batch 4096,
// as all the figures here do that say nothing else: each within 6% in the mean) better than the largest alone.
constexpr double kPowerOfLimits = 5;
double near_each_other(double a, double b, double c = 0) {
  return std::pow(std::pow(a, kPowerOfLimits) + std::pow(b, kPowerOfLimits) + std::pow(c, kPowerOfLimits),
                  1 / kPowerOfLimits);
}
// From a stage's release until it is full again: what rings of two or three stages wait for. And what splitting its
// tokens takes, behind the copies. These, kWideningClocks and the tokens' share of shared memory below are fitted to
// the timings of int8_w8a16 and float32 at 1024 and 16384 tokens that bench/NOTES.md tells of.
constexpr double kRefillClocks = 1000;
constexpr double kRefillBytesPerClock = 40;
constexpr double kTokenSplitClocks = 800;
constexpr double kPromotionClocks = 0.5;      // a column and block of 64 rows, of the warps that take sums over
constexpr double kLatePromotionClocks = 1.0;  // likewise where scales are read meanwhile
constexpr double kPartsCost = 1.03;           // of K: the blocks of a cluster end together
constexpr double kTurnsCost = 1.02;           // of warpgroups that wait for each other's turn
constexpr double kExchangeClocks = 1000;      // a part; measured where blocks read each other's sums, behind two fences
constexpr double kExchangeBytesPerClock = 32;  // likewise; of sums that are sent neither has been measured
constexpr double kWideningClocks = 32;         // issue of 64 rows' weights, 16 of K, which half of the products hide
constexpr double kSplittingClocks = 60;        // issue of 64 rows of float32 weights, 8 of K (kernels/sm90/split.hpp)
constexpr int kRowsWithSlowTails = 192;
constexpr int kRegistersBeside = 48;  // addresses, descriptors, the group in hand

// Row tiles of a group that have 64 rows at most: its last one, or none.
double short_tails(const gpu::RowsOfAGroup& rows, int m, double row_tiles) {
  const double count = std::ceil(row_tiles + 1);
  return gpu::sum_of_chances(rows, 0, m, count).value - gpu::sum_of_chances(rows, 64, m, count).value;
}

// With the share of the tiles that is multiplied. Tokens on the 64-row side are cut in 64s, but the copies of 64 take
// as long as the products of 128 where the ring is made for many; as columns, all tiles of a group have as many, and
// each is cut by the step of its forms, half of which is lost on average.
gpu::TileCounts count_tiles(const Problem& problem, const KernelSpec& spec, std::int64_t rows, double active_groups) {
  gpu::TileCounts counts = gpu::count_tiles(problem, spec.tile, rows, active_groups);
  const gpu::RowsOfAGroup of_group = gpu::rows_of_a_group(rows, active_groups);
  const int m = spec.tile.block_size_m;
  double multiplied = counts.row_tiles * m;
  if (spec.tile.swap_ab == 0) {
    multiplied = 64 * gpu::expected_parts(of_group, 64);
    if (m >= kRowsWithSlowTails) multiplied += 64 * short_tails(of_group, m, counts.row_tiles);
  } else if (cuts_tokens(spec)) {
    const int half = m / 2;
    multiplied = of_group.mean + counts.row_tiles * (next_columns(spec, half) - half) / 2.0;
  }
  counts.share = std::min(1.0, multiplied / (counts.row_tiles * m));
  counts.parts = spec.tile.split_k;
  return counts;
}

// Taking sums over, for every span of K.
double promotion_clocks(const KernelSpec& spec) {
  if (!promotes(spec)) return 0;
  const double columns = tile_x(spec.tile) / 64.0 / warpgroups_per_tile(spec.tile) * tile_y(spec.tile);
  const double clocks = kDrainClocks + (reads_scales_late(spec) ? kLatePromotionClocks : kPromotionClocks) * columns;
  return clocks * span_elements(spec) / summed_elements(spec);
}

// Adding up the parts of a tile, at its end.
double exchange_clocks(const TileConfig& tile) {
  if (tile.split_k == 1) return 0;
  const double bytes = 4.0 * tile.block_size_m * tile.block_size_n * (tile.split_k - 1) / tile.split_k;
  return kExchangeClocks * tile.split_k + bytes / kExchangeBytesPerClock;
}

}  // namespace

double estimate_seconds(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups,
                        const DeviceInfo& device) {
  const KernelSpec spec = gpu::spec_of(problem, tile);
  const gpu::TileCounts counts = count_tiles(problem, spec, rows, active_groups);
  const double multiprocessors = device.gpu().multiprocessors;
  const int fitting = gpu::resident_blocks(spec, accumulators(spec) + kRegistersBeside, device);
  const double resident = std::min<double>(fitting, std::max(1.0, std::ceil(counts.blocks() / multiprocessors)));
  const double in_flight = resident * tile.num_stages * (stage_bytes_a(spec) + stage_bytes_b(spec));
  const gpu::Transfer transfer =
      gpu::transfer_seconds(problem, spec, rows, counts, in_flight, kL2BytesPerSecond, device);

  // The tensor core takes half a clock a column for 64 rows and 32 bytes of K, shared memory 128 bytes a clock: each
  // block of 64 rows reads itself (as pairs of bytes that take as long as 32, where weights are widened) and all of Y.
  // Where tokens are split, Y is read for three products, and shared memory is nearly as busy as the tensor core: what
  // is copied to it counts too, and, once a tile, the tokens that are read and their small parts that are written, at
  // half the rate.
  const int span = span_elements(spec);
  const double slices = std::ceil(std::ceil(static_cast<double>(problem.k) / tile.block_size_k) / tile.split_k);
  const double spans = slices * tile.block_size_k / span;
  const double steps = span * size_of(spec.a) / 32.0;
  const double y = tile_y(tile);
  const double blocks_x = tile_x(tile) / 64.0;
  const bool splits = keeps_residuals(spec);
  const double products = splits ? 3 : 1;
  const double converting = widens_weights(spec.product) ? y / 2 + kWideningClocks : splits ? kSplittingClocks : 0;
  const double rows_read = splits ? (2 * 64 + 3 * y + 6 * y / blocks_x) / kTensorShare : 64 + y;
  const double shared = 32 * rows_read / gpu::kSharedBytesPerClock;
  const double span_clocks = steps * std::max({products * y / 2 / kTensorShare, shared, converting});
  const double refill = (kRefillClocks + (stage_bytes_a(spec) + stage_bytes_b(spec)) / kRefillBytesPerClock +
                         (splits ? kTokenSplitClocks : 0)) /
                        (resident * (tile.num_stages - 1));
  const double slice_clocks = near_each_other(span_clocks * blocks_x * tile.block_size_k / span, refill);
  const double busy = slices * slice_clocks * counts.share;
  // What one tile waits for, others of the multiprocessor fill: its slices' arrival, writing, and where sums are
  // promoted the products' end and 64 * y float32 operations by 128 threads. Warpgroups that share a tile do so in
  // step. Those that take turns at whole tiles fill each other's writing alone.
  const double promotion = spans * promotion_clocks(spec) * counts.share;
  const double exchange = exchange_clocks(tile);
  const double alone = busy + spans * kKBlockClocks + promotion + exchange + kTileSeconds * gpu::kClock;
  const double tiles_each = std::ceil(counts.blocks() / multiprocessors);
  const double at_once = std::min(tiles_each, resident * warpgroups(tile) / warpgroups_per_tile(tile));
  const double turn = tile.pingpong != 0 ? (busy + promotion) / resident : 0;
  const double clocks = tiles_each * std::max({busy, turn, alone / at_once});
  const double coupled = tile.split_k > 1 ? kPartsCost : tile.pingpong != 0 ? kTurnsCost : 1.0;
  const double limits = near_each_other(transfer.memory, transfer.l2, clocks / gpu::kClock);
  // Nothing hides the last tile's exchange.
  return coupled * limits + exchange / gpu::kClock + kStartSeconds;
}

}  // namespace expertile::sm90

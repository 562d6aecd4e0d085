// How long a tile of the portable family should take.

#include <algorithm>
#include <cmath>

#include "kernel_shape.hpp"
#include "plan/gpu/model.hpp"
#include "plan/sm80/family.hpp"

namespace expertile::sm80 {
namespace {

constexpr int kRegistersBeside = 72;  // addresses, fragments
constexpr double kL2BytesPerSecond = 5.5e12;
constexpr double kTileSeconds = 2.0e-6;    // finding a tile, filling the ring, writing out
constexpr double kKBlockSeconds = 1.0e-7;  // waiting for a k-block and for the other warps

// Operations a second and multiprocessor of the tensor cores, at the tile sizes that this family reaches.
double product_rate(Product product) {
  switch (product) {
    case Product::tf32:
      return 1.6e12;
    case Product::tf32x3:
      return 0.5e12;
    case Product::int8:
      return 6.0e12;
    case Product::e4m3:
    case Product::int8_float16:
    case Product::int8_bfloat16:
      return 2.4e12;
    case Product::float16:
    case Product::bfloat16:
      return 3.2e12;
  }
  return 0.0;
}

}  // namespace

double estimate_seconds(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups,
                        const DeviceInfo& device) {
  const KernelSpec spec = gpu::spec_of(problem, tile);
  const gpu::TileCounts counts = gpu::count_tiles(problem, tile, rows, active_groups);
  const double multiprocessors = device.gpu().multiprocessors;
  const int fitting = gpu::resident_blocks(spec, accumulators(spec) + kRegistersBeside, device);
  const double resident = std::min<double>(fitting, std::max(1.0, std::ceil(counts.tiles() / multiprocessors)));
  const double in_flight = resident * (tile.num_stages - 1) * (stage_bytes_a(spec) + stage_bytes_b(spec));
  const gpu::Transfer transfer =
      gpu::transfer_seconds(problem, spec, rows, counts, in_flight, kL2BytesPerSecond, device);

  // A multiprocessor's share of the tensor cores' and of shared memory's work, the last wave's idle ones included, and
  // what its resident blocks cannot hide from each other.
  const double k = static_cast<double>(problem.k);
  const double tiles_each = std::ceil(counts.tiles() / multiprocessors);
  const double operations = 2.0 * tile.block_size_m * tile.block_size_n * k;
  const WarpGrid warps = warp_grid(tile);
  const double shared =
      k * (tile_x(tile) * size_of(spec.b) * (warps.y + 1) + tile_y(tile) * size_of(spec.b) * (warps.x + 1));
  const double latency = 0.4 + 0.6 * std::min(1.0, tile.num_warps * resident / 8.0);  // warps hide it
  const double multiply =
      std::max(operations / (product_rate(spec.product) * latency), shared / (gpu::kSharedBytesPerClock * gpu::kClock));
  const double waiting = (kTileSeconds + k / tile.block_size_k * kKBlockSeconds) / resident;
  return std::max({transfer.memory, transfer.l2, tiles_each * (multiply + waiting)}) + kTileSeconds;
}

}  // namespace expertile::sm80

#include "plan/sm80_tiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernel_figures.hpp"
#include "plan/gpu_model.hpp"
#include "plan/kernel_plan.hpp"
#include "problem/sizes.hpp"

namespace expertile::sm80 {
namespace {

constexpr int kMostHeld = 200;        // registers a thread for sums and operands; 255 is all there are
constexpr int kRegistersBeside = 72;  // addresses, fragments
constexpr double kL2BytesPerSecond = 5.5e12;
constexpr double kTileSeconds = 2.0e-6;   // finding a tile, filling the ring, writing out
constexpr double kSliceSeconds = 1.0e-7;  // waiting for a slice and for the other warps

KernelSpec spec_of(const Problem& problem, const TileConfig& tile) {
  return make_spec(problem, tile, usual_types(problem), true);
}

Status refused(const TileConfig& tile, const std::string& why) {
  return fail(ErrorCode::unsupported, fmt::format("{}: {}", describe(tile), why));
}

Status check_numbers(const TileConfig& tile) {
  if (const std::string wrong = wrong_field(tile); !wrong.empty()) return refused(tile, wrong);
  if (tile.split_k > tile.num_warps) {
    return refused(tile, fmt::format("SPLIT_K={} must be a power of two up to num_warps", tile.split_k));
  }
  return {};
}

Status check_shape(const KernelSpec& spec) {
  const TileConfig& tile = spec.tile;
  const WarpGrid warps = warp_grid(tile);
  if (warps.x == 0) {
    return refused(tile,
                   fmt::format("{} warps, {} of them along K, do not divide the tile", tile.num_warps, tile.split_k));
  }
  const int blocks_y = tile_y(tile) / warps.y / 8;
  if (blocks_y != 1 && blocks_y % 2 != 0) return refused(tile, "a warp's 8-row blocks must be 1 or even");
  if (tile.block_size_k % (step_elements(spec.product) * tile.split_k) != 0) {
    return refused(tile, fmt::format("BLOCK_SIZE_K must be a multiple of {} elements for {} parts of K",
                                     step_elements(spec.product) * tile.split_k, tile.split_k));
  }
  const int row_bytes = tile.block_size_k * std::max(size_of(spec.a), size_of(spec.b));
  if (tile.block_size_k * std::min(size_of(spec.a), size_of(spec.b)) < 32 || row_bytes / 16 > threads_of(spec)) {
    return refused(tile, fmt::format("a row of a stage has {} bytes, it must have from 32 to {}", row_bytes,
                                     16 * threads_of(spec)));
  }
  return {};
}

// Registers a thread that hold sums, the operands of two steps, what becomes of operands that are converted, and the
// scales of a block.
int held_registers(const KernelSpec& spec) {
  const WarpGrid warps = warp_grid(spec.tile);
  const bool swapped = spec.tile.swap_ab != 0;
  const int x = tile_x(spec.tile) / warps.x / 16;
  const int y = tile_y(spec.tile) / warps.y / 8;
  const int words = fragment_words(spec.product, swapped ? spec.b : spec.a) * x +
                    fragment_words(spec.product, swapped ? spec.a : spec.b) * ((y + 1) / 2);
  const int converted = operand_parts(spec.product) > 1 ? 8 * x : 0;
  const bool one_weight_scale = spec.block_n > 0 && spec.block_n % spec.tile.block_size_n == 0;
  const int tokens = swapped ? 2 * y : 2 * x;
  const int scales = spec.scaling == Scaling::block ? tokens + (one_weight_scale ? 1 : 2 * (x + y) - tokens) : 0;
  return accumulators(spec) + 2 * words + converted + scales;
}

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
    default:
      return 3.2e12;
  }
}

TileConfig make_tile(int m, int n, int k, int warps, int stages, int split_k, int swap_ab,
                     int group = gpu_model::kBand) {
  TileConfig tile;
  tile.block_size_m = m;
  tile.block_size_n = n;
  tile.block_size_k = k;
  tile.group_size_m = group;
  tile.num_warps = warps;
  tile.num_stages = stages;
  tile.split_k = split_k;
  tile.swap_ab = swap_ab;
  tile.kernel = KernelFamily::sm80;
  return tile;
}

// Elements of K whose rows of weights are so many bytes long.
int slice_elements(const Problem& problem, int bytes) {
  const KernelSpec spec = spec_of(problem, {});
  const int elements = bytes / size_of(spec.b);
  return spec.block_k > 0 ? std::max(32, std::min(elements, spec.block_k)) : elements;
}

}  // namespace

Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device) {
  if (auto status = check_numbers(tile); !status) return status;
  const KernelSpec spec = spec_of(problem, tile);
  if (auto status = check_shape(spec); !status) return status;
  if (smem_bytes(spec) > device.gpu().shared_bytes_per_block) {
    return refused(tile, fmt::format("needs {} KiB of shared memory, {} has {} KiB", (smem_bytes(spec) + 1023) >> 10,
                                     device.name, device.gpu().shared_bytes_per_block >> 10));
  }
  if (held_registers(spec) > kMostHeld) {
    return refused(tile, fmt::format("needs {} registers a thread for sums and operands, {} are allowed",
                                     held_registers(spec), kMostHeld));
  }
  return {};
}

// Values in the order in which they are usually best: where the cost model sees no difference, the first is taken.
std::vector<TileConfig> grid(const Problem& problem) {
  std::vector<std::pair<int, TileConfig>> ranked;
  const auto each = [](std::initializer_list<int> values, const auto& visit) {
    int place = 0;
    for (const int value : values) visit(value, place++);
  };
  std::vector<int> slices;
  for (const int bytes : {256, 128, 64}) {
    const int elements = slice_elements(problem, bytes);
    if (std::find(slices.begin(), slices.end(), elements) == slices.end()) slices.push_back(elements);
  }
  for (const int m : {8, 16, 32, 48, 64, 96, 128, 256}) {
    for (const int n : {64, 128, 256, 32, 16}) {
      each({4, 3, 6, 2}, [&](int stages, int stages_place) {
        each({4, 8, 2}, [&](int warps, int warps_place) {
          each({1, 2, 4}, [&](int split_k, int split_place) {
            for (std::size_t slice = 0; slice < slices.size(); ++slice) {
              const int place = stages_place / 2 + warps_place + split_place + static_cast<int>(slice);
              for (const int swap_ab : {m < 64 ? 1 : 0, m < 64 ? 0 : 1}) {
                for (const int group : {gpu_model::kBand, 1}) {
                  ranked.emplace_back(place, make_tile(m, n, slices[slice], warps, stages, split_k, swap_ab, group));
                }
              }
            }
          });
        });
      });
    }
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<TileConfig> tiles;
  tiles.reserve(ranked.size());
  for (const auto& [place, tile] : ranked) tiles.push_back(tile);
  return tiles;
}

Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, const DeviceInfo& device) {
  if (auto status = sm80::check_tile(problem, tile, device); !status) {
    return {tile, "does not fit the kernel or the device", status.error().message};
  }
  if (tile.block_size_m > 16 && tile.block_size_m > 4 * rows_a_group) {
    return {tile, "more rows than a group has",
            fmt::format("BLOCK_SIZE_M={} is more than four times the {:.1f} rows of a group", tile.block_size_m,
                        rows_a_group)};
  }
  if (tile.block_size_n > 16 && tile.block_size_n >= 2 * problem.n) {
    return {tile, "more columns than N",
            fmt::format("BLOCK_SIZE_N={} is twice or more N={}", tile.block_size_n, problem.n)};
  }
  if (tile.swap_ab == 0 && tile.block_size_m < 64) {
    // Measured within half a percent of the swapped form wherever both were tried.
    return {tile, "straight with few rows", fmt::format("SWAP_AB=0 with BLOCK_SIZE_M={}", tile.block_size_m)};
  }
  if (tile.swap_ab != 0 && tile.block_size_m > 128) {
    // Both sides of the tensor core are full: nothing is gained over the straight form.
    return {tile, "swapped with many rows", fmt::format("SWAP_AB=1 with BLOCK_SIZE_M={}", tile.block_size_m)};
  }
  if (Refusal refusal = gpu_model::refuse_short_band(tile, rows_a_group); !refusal.rule.empty()) return refusal;
  if (tile.split_k > 1 && tile.block_size_m * tile.block_size_n > 64 * 64) {
    // Large tiles keep all warps busy without it, and the sums of the parts would fill shared memory.
    return {tile, "SPLIT_K with a large tile",
            fmt::format("SPLIT_K={} with a tile of {} x {}", tile.split_k, tile.block_size_m, tile.block_size_n)};
  }
  return {};
}

double estimate_seconds(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups,
                        const DeviceInfo& device) {
  const KernelSpec spec = spec_of(problem, tile);
  const gpu_model::TileCounts counts = gpu_model::count_tiles(problem, tile, rows, active_groups);
  const double multiprocessors = device.gpu().multiprocessors;
  const int fitting = gpu_model::resident_blocks(spec, accumulators(spec) + kRegistersBeside, device);
  const double resident = std::min<double>(fitting, std::max(1.0, std::ceil(counts.tiles() / multiprocessors)));
  const double in_flight = resident * (tile.num_stages - 1) * (stage_bytes_a(spec) + stage_bytes_b(spec));
  const gpu_model::Transfer transfer =
      gpu_model::transfer_seconds(problem, spec, rows, counts, in_flight, kL2BytesPerSecond, device);

  // A multiprocessor's share of the tensor cores' and of shared memory's work, the last wave's idle ones included, and
  // what its resident blocks cannot hide from each other.
  const double k = static_cast<double>(problem.k);
  const double tiles_each = std::ceil(counts.tiles() / multiprocessors);
  const double operations = 2.0 * tile.block_size_m * tile.block_size_n * k;
  const WarpGrid warps = warp_grid(tile);
  const double shared =
      k * (tile_x(tile) * size_of(spec.b) * (warps.y + 1) + tile_y(tile) * size_of(spec.b) * (warps.x + 1));
  const double latency = 0.4 + 0.6 * std::min(1.0, tile.num_warps * resident / 8.0);  // warps hide it
  const double multiply = std::max(operations / (product_rate(spec.product) * latency),
                                   shared / (gpu_model::kSharedBytesPerClock * gpu_model::kClock));
  const double waiting = (kTileSeconds + k / tile.block_size_k * kSliceSeconds) / resident;
  return std::max({transfer.memory, transfer.l2, tiles_each * (multiply + waiting)}) + kTileSeconds;
}

TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                         const DeviceInfo& device) {
  return gpu_model::fastest(tiles, sm80::estimate_seconds, problem, rows, device);
}

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  const int few = slice_elements(problem, 256);  // long rows of weights where memory is the limit
  const int many = slice_elements(problem, 128);
  std::vector<TileConfig> tiles = {make_tile(8, 64, few, 4, 4, 1, 1),    make_tile(16, 64, few, 4, 4, 1, 1),
                                   make_tile(32, 64, few, 4, 4, 1, 1),   make_tile(64, 64, many, 4, 4, 1, 0),
                                   make_tile(64, 128, many, 4, 3, 1, 0), make_tile(128, 128, many, 4, 3, 1, 0),
                                   make_tile(128, 256, many, 8, 3, 1, 0)};
  for (TileConfig& tile : tiles) {
    // What a device or a problem does not hold gets fewer and shorter stages, then a smaller tile.
    while (!sm80::check_tile(problem, tile, device) && tile.num_stages > 3) --tile.num_stages;
    while (!sm80::check_tile(problem, tile, device) && tile.block_size_k > 32) tile.block_size_k /= 2;
    while (!sm80::check_tile(problem, tile, device) && tile.block_size_n > 64) tile.block_size_n /= 2;
    while (!sm80::check_tile(problem, tile, device) && tile.block_size_m > 32) tile.block_size_m /= 2;
    while (!sm80::check_tile(problem, tile, device) && tile.num_stages > 2) --tile.num_stages;
  }
  std::vector<TileConfig> different;
  for (const TileConfig& tile : tiles) {
    if (std::find(different.begin(), different.end(), tile) == different.end()) different.push_back(tile);
  }
  return different;
}

}  // namespace expertile::sm80

// Which tiles of the portable family are looked at, and which are worth timing.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <utility>

#include "kernel_shape.hpp"
#include "plan/distinct.hpp"
#include "plan/sm80/family.hpp"

namespace expertile::sm80 {

TileConfig make_tile(int m, int n, int k, int warps, int stages, int split_k, int swap_ab, int group) {
  TileConfig tile = gpu::make_tile(KernelFamily::sm80, m, n, k, warps, swap_ab, group);
  tile.num_stages = stages;
  tile.split_k = split_k;
  return tile;
}

int k_block_elements(const Problem& problem, int bytes) {
  const KernelSpec spec = gpu::spec_of(problem, {});
  const int elements = bytes / size_of(spec.b);
  if (spec.block_k == 0) return elements;
  return std::max(32, static_cast<int>(std::bit_floor(static_cast<unsigned>(std::min(elements, spec.block_k)))));
}

std::vector<TileConfig> grid(const Problem& problem) {
  std::vector<std::pair<int, TileConfig>> ranked;
  const auto each = [](std::initializer_list<int> values, const auto& visit) {
    int place = 0;
    for (const int value : values) visit(value, place++);
  };
  std::vector<int> block_ks;
  for (const int bytes : {256, 128, 64}) add_once(block_ks, k_block_elements(problem, bytes));
  for (const int m : {8, 16, 32, 48, 64, 96, 128, 256}) {
    for (const int n : {64, 128, 256, 32, 16}) {
      each({4, 3, 6, 2}, [&](int stages, int stages_place) {
        each({4, 8, 2}, [&](int warps, int warps_place) {
          each({1, 2, 4}, [&](int split_k, int split_place) {
            for (std::size_t k_index = 0; k_index < block_ks.size(); ++k_index) {
              const int place = stages_place / 2 + warps_place + split_place + static_cast<int>(k_index);
              for (const int swap_ab : {m < 64 ? 1 : 0, m < 64 ? 0 : 1}) {
                for (const int group : {gpu::kBand, 1}) {
                  ranked.emplace_back(place,
                                      make_tile(m, n, block_ks[k_index], warps, stages, split_k, swap_ab, group));
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

Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, double /*active_groups*/,
               const DeviceInfo& device) {
  if (auto status = sm80::check_tile(problem, tile, device); !status) {
    return {tile, "does not fit the kernel or the device", status.error().message};
  }
  if (Refusal refusal = gpu::refuse_rows(tile, rows_a_group, 16); !refusal.rule.empty()) return refusal;
  if (Refusal refusal = refuse_columns(problem, tile, 16); !refusal.rule.empty()) return refusal;
  if (tile.swap_ab == 0 && tile.block_size_m < 64) {
    // Measured within half a percent of the swapped form wherever both were tried.
    return {tile, "straight with few rows", fmt::format("SWAP_AB=0 with BLOCK_SIZE_M={}", tile.block_size_m)};
  }
  if (tile.swap_ab != 0 && tile.block_size_m > 128) {
    // Both sides of the tensor core are full: nothing is gained over the straight form.
    return {tile, "swapped with many rows", fmt::format("SWAP_AB=1 with BLOCK_SIZE_M={}", tile.block_size_m)};
  }
  if (Refusal refusal = gpu::refuse_short_band(tile, rows_a_group); !refusal.rule.empty()) return refusal;
  if (tile.split_k > 1 && tile.block_size_m * tile.block_size_n > 64 * 64) {
    // Large tiles keep all warps busy without it, and the sums of the parts would fill shared memory.
    return {tile, "SPLIT_K with a large tile",
            fmt::format("SPLIT_K={} with a tile of {} x {}", tile.split_k, tile.block_size_m, tile.block_size_n)};
  }
  return {};
}

}  // namespace expertile::sm80

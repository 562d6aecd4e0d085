#include "plan/candidates.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernel_shape.hpp"
#include "plan/kernel_plan.hpp"
#include "plan/sm80/family.hpp"

namespace expertile {
namespace {

constexpr std::size_t kMostCandidates = 10;
constexpr std::size_t kMostCandidatesOnGpu = 34;
constexpr std::ptrdiff_t kMostOfAFamily = 20;  // the models of two families are not exact enough to leave one out
constexpr std::ptrdiff_t kMostPortable = 14;   // where there is another family, which seldom loses
constexpr double kHopeless = 1.35;             // of the best estimate, of which the models miss up to a fifth
constexpr std::ptrdiff_t kMostOfAShape = 3;
constexpr double kKnownDifference = 1.02;

// Nearly equal tiles take nearly equal time: one of them is enough among the few that are measured.
bool resembles(const TileConfig& a, const TileConfig& b) {
  return a.block_size_m == b.block_size_m && a.block_size_n == b.block_size_n && a.group_size_m == b.group_size_m &&
         std::max(a.block_size_k, b.block_size_k) <= 2 * std::min(a.block_size_k, b.block_size_k);
}

// The cost model knows shapes better than it knows their stages and warps: of a shape a few are measured.
bool has_shape(const TileConfig& a, const TileConfig& b) {
  return a.block_size_m == b.block_size_m && a.block_size_n == b.block_size_n && a.swap_ab == b.swap_ab &&
         a.kernel == b.kernel && a.pingpong == b.pingpong && a.cluster_size == b.cluster_size &&
         a.cluster_m == b.cluster_m && k_splits(a) == k_splits(b);
}

bool is_represented(const std::vector<TileConfig>& chosen, const TileConfig& tile, bool is_gpu, bool has_families) {
  if (is_gpu) {
    const auto count = [&](const auto& alike) { return std::count_if(chosen.begin(), chosen.end(), alike); };
    const bool is_portable = tile.kernel == KernelFamily::sm80 && has_families;
    return count([&](const auto& other) { return has_shape(tile, other); }) >= kMostOfAShape ||
           count([&](const auto& other) { return other.kernel == tile.kernel; }) >=
               (is_portable ? kMostPortable : kMostOfAFamily);
  }
  return std::any_of(chosen.begin(), chosen.end(), [&](const auto& other) { return resembles(tile, other); });
}

const Family& default_family(const Problem& problem, const DeviceInfo& device) {
  return functions_of(families_of(problem, device).back());
}

// What the families of a device offer.
std::vector<TileConfig> grid_of(const Problem& problem, const DeviceInfo& device) {
  std::vector<TileConfig> tiles;
  for (const KernelFamily family : families_of(problem, device)) {
    const auto more = functions_of(family).grid(problem);
    tiles.insert(tiles.end(), more.begin(), more.end());
  }
  return tiles;
}

double rows_of_a_group(std::int64_t rows, double active_groups) {
  return static_cast<double>(rows) / std::max(active_groups, 1.0);
}

bool are_neighbours(const TileConfig& a, const TileConfig& b) {
  int differences = 0;
  TileConfig other = a;
  for (const TileField& field : kTileFields) {
    if (!field.is(kUnsure)) continue;
    differences += a.*field.member != b.*field.member ? 1 : 0;
    other.*field.member = b.*field.member;
  }
  return differences == 1 && other == b;
}

}  // namespace

Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device) {
  if (device.is_gpu() != (tile.kernel != KernelFamily::cpu)) {
    return fail(ErrorCode::unsupported,
                fmt::format("kernel={} does not run on device {}", name(tile.kernel), device.name));
  }
  if (device.is_gpu()) {
    if (auto status = check_product(problem); !status) return status;
  }
  return functions_of(tile.kernel).check_tile(problem, tile, device);
}

CandidateSet make_candidates(const Problem& problem, std::int64_t rows, double active_groups,
                             const DeviceInfo& device) {
  CandidateSet set;
  const double rows_a_group = rows_of_a_group(rows, active_groups);
  std::vector<std::pair<double, TileConfig>> ranked;
  const bool is_gpu = device.is_gpu();
  const bool has_families = families_of(problem, device).size() > 1;
  const std::size_t most = is_gpu ? kMostCandidatesOnGpu : kMostCandidates;
  for (const TileConfig& tile : grid_of(problem, device)) {
    const Family& family = functions_of(tile.kernel);
    Refusal refusal = family.refuse(problem, tile, rows_a_group, active_groups, device);
    if (refusal.rule.empty()) {
      ranked.emplace_back(family.estimate_seconds(problem, tile, rows, active_groups, device), tile);
    } else {
      set.refused.push_back(std::move(refusal));
    }
  }
  // Smaller differences than the model knows about leave the order of the grid.
  const auto rank = [](double seconds) { return std::round(std::log(seconds) / std::log(kKnownDifference)); };
  std::stable_sort(ranked.begin(), ranked.end(),
                   [&](const auto& a, const auto& b) { return rank(a.first) < rank(b.first); });
  for (const auto& [seconds, tile] : ranked) {
    const bool known = is_represented(set.candidates, tile, is_gpu, has_families);
    const bool hopeless = is_gpu && seconds > kHopeless * ranked.front().first;
    if (!known && !hopeless && set.candidates.size() < most) {
      set.candidates.push_back(tile);
      continue;
    }
    set.refused.push_back({tile, known ? "resembles a better candidate" : "ranked low by the cost model",
                           fmt::format("{} is estimated at {:.0f} us, the best at {:.0f} us", describe(tile),
                                       seconds * 1e6, ranked.front().first * 1e6)});
  }
  return set;
}

std::vector<TileConfig> neighbours(const Problem& problem, const TileConfig& tile, std::int64_t rows,
                                   double active_groups, const DeviceInfo& device) {
  std::vector<TileConfig> found = grid_of(problem, device);
  std::erase_if(found, [&](const TileConfig& other) {
    return !are_neighbours(tile, other) ||
           !functions_of(other.kernel)
                .refuse(problem, other, rows_of_a_group(rows, active_groups), active_groups, device)
                .rule.empty();
  });
  return found;
}

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  return default_family(problem, device).built_in_tiles(problem, device);
}

TileConfig built_in_tile(const Problem& problem, std::int64_t rows, const DeviceInfo& device) {
  return built_in_tile(built_in_tiles(problem, device), problem, rows, device);
}

TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                         const DeviceInfo& device) {
  return default_family(problem, device).built_in_tile(tiles, problem, rows_of_step(row_step(rows)), device);
}

TileConfig portable_tile(const Problem& problem, std::int64_t rows, const DeviceInfo& device) {
  return sm80::built_in_tile(sm80::built_in_tiles(problem, device), problem, rows, device);
}

}  // namespace expertile

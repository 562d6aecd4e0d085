#include "plan/launch_plan.hpp"

#include <algorithm>

#include "kernel_shape.hpp"

namespace expertile {
namespace {

// The most row tiles that `rows` rows in `groups` groups can make: a bound that needs no look at the routing. (No row
// is in two groups, whatever the offsets are: kernels see to that.)
std::int64_t most_row_tiles(std::int64_t rows, std::int64_t groups, int tile_rows) {
  // Every group that has rows wastes less than a tile; a group without rows makes none.
  const std::int64_t active = std::min(rows, groups);
  return active + (rows - active) / tile_rows;
}

// Likewise where rows are masked, a group's `each` at most: those behind its count make no tile.
std::int64_t most_masked_tiles(std::int64_t each, std::int64_t groups, int tile_rows) {
  return groups * ceil_div(each, tile_rows);
}

}  // namespace

LaunchPlan make_launch_plan(const Problem& problem, const KernelSpec& spec) noexcept {
  LaunchPlan plan;
  plan.spec = spec;
  plan.threads = threads_of(spec);
  plan.shared_bytes = smem_bytes(spec);
  plan.cluster_blocks = cluster_blocks(spec.tile);
  plan.column_blocks = ceil_div(problem.n, cluster_tile_n(spec.tile)) * plan.cluster_blocks;
  if (spec.tile.kernel == KernelFamily::sm90) {
    plan.box_rows_a = box_rows_a(spec);
    plan.box_rows_b = box_rows_b(spec);
    plan.rounds_to_tf32 = spec.product == Product::tf32;
    plan.counts_tiles = counts_tiles(spec.tile);
  }
  return plan;
}

std::int64_t block_count(const LaunchPlan& plan, std::int64_t rows, std::int64_t groups) noexcept {
  const int tile_rows = cluster_tile_m(plan.spec.tile);
  if (groups > 0 && plan.spec.rows == Rows::masked) {
    return most_masked_tiles(rows / groups, groups, tile_rows) * plan.column_blocks;
  }
  return most_row_tiles(rows, groups, tile_rows) * plan.column_blocks;
}

std::int64_t repeating_blocks(const LaunchPlan& plan, std::int64_t blocks, const Expected& expected) noexcept {
  const std::int64_t of_expected =
      most_row_tiles(expected.rows, expected.groups, cluster_tile_m(plan.spec.tile)) * plan.column_blocks;
  return std::min(blocks, std::max(of_expected, expected.blocks_at_once));
}

std::int64_t staying_blocks(const LaunchPlan& plan, std::int64_t blocks, std::int64_t at_once) noexcept {
  const std::int64_t cluster = plan.cluster_blocks;
  return std::max(cluster, std::min(blocks, at_once) / cluster * cluster);
}

}  // namespace expertile

#pragma once
// What a launch of one kernel needs beside a call's pointers and rows. Pure: no CUDA, no I/O.

#include <cstdint>

#include "expertile/problem.hpp"
#include "kernel_spec.hpp"

namespace expertile {

// Worked out once, when an operation is prepared, and read by every call.
struct LaunchPlan {
  KernelSpec spec{};
  int threads = 0;                 // of a block
  int shared_bytes = 0;            // of a block, dynamic
  int cluster_blocks = 1;          // blocks of a cluster
  int box_rows_a = 0;              // sm90: rows of a bulk copy's box
  int box_rows_b = 0;              // likewise, of the weights
  bool rounds_to_tf32 = false;     // sm90: by the bulk copy
  bool counts_tiles = false;       // sm90: by a counter in memory that blocks take tiles from
  std::int64_t column_blocks = 0;  // blocks side by side along N, for each row tile of a cluster
};
[[nodiscard]] LaunchPlan make_launch_plan(const Problem& problem, const KernelSpec& spec) noexcept;

// Blocks of a launch: enough for every routing of `rows` rows of A to `groups` groups, or, where they are masked, for
// all counts.
[[nodiscard]] std::int64_t block_count(const LaunchPlan& plan, std::int64_t rows, std::int64_t groups) noexcept;
// Blocks of a launch that take one tile after the other: of `blocks`, as many as can run at once, in whole clusters.
[[nodiscard]] std::int64_t staying_blocks(const LaunchPlan& plan, std::int64_t blocks, std::int64_t at_once) noexcept;

// Of the portable family, where rows are masked: of `blocks`, as many as the rows that are expected make tiles at most,
// and as many as run at once. Should there be more tiles, blocks take further ones.
struct Expected {
  std::int64_t rows = 0;
  std::int64_t groups = 0;
  std::int64_t blocks_at_once = 1;  // that the device runs
};
[[nodiscard]] std::int64_t repeating_blocks(const LaunchPlan& plan, std::int64_t blocks,
                                            const Expected& expected) noexcept;

}  // namespace expertile

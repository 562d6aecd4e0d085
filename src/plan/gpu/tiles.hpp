#pragma once
// What both GPU families say of their tiles alike.

#include <string>
#include <vector>

#include "expertile/device.hpp"
#include "kernel_spec.hpp"
#include "plan/family.hpp"

namespace expertile::gpu {

// A tile of a family; what else it has is the family's.
[[nodiscard]] TileConfig make_tile(KernelFamily family, int m, int n, int k, int warps, int swap_ab, int group);

// The kernel of a tile, for the types that are tuned and rows that are aligned.
[[nodiscard]] KernelSpec spec_of(const Problem& problem, const TileConfig& tile);

// That the tile cannot run, and why.
[[nodiscard]] Status refused(const TileConfig& tile, const std::string& why);
// Fields and their values, by the table of fields.
[[nodiscard]] Status check_fields(const TileConfig& tile);
// A block's shared memory, by the device.
[[nodiscard]] Status check_shared_memory(const KernelSpec& spec, const DeviceInfo& device);

// A tile of more than `smallest` rows that has more than four times a group's. No rule: not refused.
[[nodiscard]] Refusal refuse_rows(const TileConfig& tile, double rows_a_group, int smallest);

// Of a group's mean rows: with so many a tile, nearly all groups have one row tile.
inline constexpr double kOneRowTile = 1.25;
// Row tiles that pass over a column tile, and so its weights, together.
inline constexpr int kBand = 8;
// Bands of fewer where nearly every group has one row tile: they make no difference there, but where routing is more
// skewed than what was tuned for, weights would be read again for each row tile. No rule: not refused.
[[nodiscard]] Refusal refuse_short_band(const TileConfig& tile, double rows_a_group);

// Groups that have rows, of a call with so many rows whose routing is not known: as many as there can be.
[[nodiscard]] double groups_with_rows(const Problem& problem, std::int64_t rows);

// Of tiles, at least one, the fastest for a call with so many rows: of nearly equal ones an earlier one.
[[nodiscard]] TileConfig fastest(const std::vector<TileConfig>& tiles, Estimate* estimate, const Problem& problem,
                                 std::int64_t rows, const DeviceInfo& device);

}  // namespace expertile::gpu

#pragma once
// The fields of a tile, a line each: their keys in files and messages, their names in source text, and which values
// each family's tiles may have. Files, reports, messages, device text, refusals and neighbours all walk this table, so
// a new field is a member of TileConfig and a line here.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expertile/tile_config.hpp"

namespace expertile {

// What a family's tiles may have in a field.
struct Values {
  enum class Kind {
    none,           // not a field of the family: it has the value that TileConfig{} gives it
    unread,         // in the family's files, where other tools' files have it too; any value, which nothing reads
    range,          // least to most
    multiples,      // of step, from least to most
    powers_of_two,  // from least to most
    listed,
  };
  Kind kind = Kind::none;
  int least = 0;
  int most = 0;
  int step = 1;
  std::array<int, 4> list{};
  std::size_t listed = 0;

  [[nodiscard]] bool hold(int value) const noexcept;
  [[nodiscard]] std::string text() const;  // after "must be": "a multiple of 8 from 8 to 256"
};

enum FieldRole : unsigned {
  kTold = 1,      // in every description; others where they have another value than TileConfig{}'s
  kRequired = 3,  // told, and a file that leaves it out is refused; of others it means TileConfig{}'s value
  kUnsure = 4,    // the cost models know little about it: tiles that differ in it alone are neighbours
};

inline constexpr std::array kFamilies = {KernelFamily::cpu, KernelFamily::sm80, KernelFamily::sm90};

struct TileField {
  std::string_view key;  // in files, reports and messages
  int TileConfig::*member;
  unsigned roles;
  std::array<Values, kFamilies.size()> values;  // by family

  [[nodiscard]] constexpr bool is(FieldRole role) const { return (roles & role) == role; }
  [[nodiscard]] constexpr const Values& of(KernelFamily family) const {
    return values[static_cast<std::size_t>(family)];
  }
  [[nodiscard]] constexpr bool belongs_to(KernelFamily family) const { return of(family).kind != Values::Kind::none; }
  // In source text: the key in lower case, as everywhere in TileConfig.
  [[nodiscard]] std::string member_name() const;
  // Of tiles whose family has no such field, and where a file leaves it out.
  [[nodiscard]] constexpr int neutral() const { return TileConfig{}.*member; }
};

namespace schema {

using Tile = TileConfig;
constexpr Values none() { return {}; }
constexpr Values unread() { return {.kind = Values::Kind::unread}; }
constexpr Values from_to(int least, int most) { return {.kind = Values::Kind::range, .least = least, .most = most}; }
constexpr Values up_to(int most) { return from_to(1, most); }
constexpr Values multiples(int step, int most) {
  return {.kind = Values::Kind::multiples, .least = step, .most = most, .step = step};
}
constexpr Values powers_of_two(int most) { return {.kind = Values::Kind::powers_of_two, .least = 1, .most = most}; }
template <class... Numbers>
constexpr Values one_of(Numbers... numbers) {
  return {.kind = Values::Kind::listed, .list = {numbers...}, .listed = sizeof...(numbers)};
}

// Of each family the widest ranges: what a problem's kernels take of them, the family's legal.cpp says. On a CPU
// BLOCK_SIZE_K ends where int32 sums of int8 products stay exact.
inline constexpr std::array<TileField, 11> kTileFields = {{
    // key, member, roles, values of cpu, sm80 and sm90
    {"BLOCK_SIZE_M", &Tile::block_size_m, kRequired, {up_to(4096), multiples(8, 256), multiples(8, 256)}},
    {"BLOCK_SIZE_N", &Tile::block_size_n, kRequired | kUnsure, {up_to(4096), multiples(16, 256), multiples(32, 256)}},
    {"BLOCK_SIZE_K", &Tile::block_size_k, kRequired | kUnsure, {up_to(65536), powers_of_two(1024), multiples(32, 512)}},
    {"GROUP_SIZE_M", &Tile::group_size_m, kTold, {up_to(65536), up_to(65536), up_to(65536)}},
    {"num_warps", &Tile::num_warps, kTold | kUnsure, {unread(), powers_of_two(16), one_of(4, 8, 12)}},
    {"num_stages", &Tile::num_stages, kTold | kUnsure, {unread(), from_to(2, 16), from_to(2, 32)}},
    {"SWAP_AB", &Tile::swap_ab, kTold, {none(), one_of(0, 1), one_of(0, 1)}},
    {"SPLIT_K", &Tile::split_k, kTold | kUnsure, {none(), powers_of_two(16), one_of(1, 2, 4, 8)}},
    {"PINGPONG", &Tile::pingpong, kTold, {none(), none(), one_of(0, 1)}},
    {"CLUSTER_SIZE", &Tile::cluster_size, kTold, {none(), none(), one_of(1, 2, 4)}},
    {"CLUSTER_M", &Tile::cluster_m, 0, {none(), none(), one_of(1, 2)}},
}};

}  // namespace schema

using schema::kTileFields;
// A tile is these numbers and its family.
static_assert(sizeof(TileConfig) == (kTileFields.size() + 1) * sizeof(int), "a member of TileConfig has no line here");

// "cpu", "sm80", "sm90"
[[nodiscard]] std::string_view name(KernelFamily family) noexcept;
[[nodiscard]] std::optional<KernelFamily> family_named(std::string_view text) noexcept;
// Null where no field has that key.
[[nodiscard]] constexpr const TileField* find_field(std::string_view key) noexcept {
  for (const TileField& field : kTileFields) {
    if (field.key == key) return &field;
  }
  return nullptr;
}
// Why a field cannot have its value, whatever the problem, or is not of the tile's family; empty where all can.
[[nodiscard]] std::string wrong_field(const TileConfig& tile);
// By the file's keys, in its order: those of the tile's family, and others that have a value of their own.
[[nodiscard]] std::vector<std::pair<std::string, int>> tile_numbers(const TileConfig& tile);
// "BLOCK_SIZE_M=32, BLOCK_SIZE_N=64, BLOCK_SIZE_K=512, GROUP_SIZE_M=1", and the GPU's fields for a GPU's tile
[[nodiscard]] std::string describe(const TileConfig& tile);

}  // namespace expertile

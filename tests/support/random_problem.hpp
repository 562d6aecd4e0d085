#pragma once
// Random ragged problems that own their tensors, poisoned where nothing may be written: rows before the first group,
// too, and behind the last.

#include <cstdint>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "expertile/grouped_gemm.hpp"

namespace expertile::testing {

struct Combination {
  std::string name;
  DType dtype;
  Scales scales;
  ElementType a;
  bool tf32 = false;

  friend void PrintTo(const Combination& combination, std::ostream* out) {
    *out << combination.name;
  }  // for GoogleTest
};
// Every dtype with every scale granularity that DESIGN.md names, int8_w8a16 with both activations.
[[nodiscard]] std::vector<Combination> all_combinations();
// One of them.
[[nodiscard]] Combination combination_named(const std::string& name);

struct Wishes {
  bool is_aligned = false;                  // rows and blocks of scales begin at multiples of 16 bytes
  bool is_large = false;                    // several tiles along every side
  bool has_many_tiles = false;              // large ones, too: more than a GPU multiplies at a time
  std::optional<BlockShape> block_shape{};  // instead of a random one
  std::optional<ElementType> c_type{};      // likewise
  RowLayout rows = RowLayout::offsets;
};

class RandomProblem {
 public:
  RandomProblem(const Combination& combination, std::uint64_t seed, const Wishes& wishes = {});

  [[nodiscard]] const Problem& problem() const { return problem_; }
  [[nodiscard]] GroupedGemmArgs args();
  [[nodiscard]] const TileConfig& tile() const { return tile_; }  // one of a CPU
  // Fills C, its padding and the rows of no group with a pattern that outputs do not have.
  void poison();
  // Elements outside the groups' rows, or in the padding of rows, that no longer hold the pattern.
  [[nodiscard]] std::int64_t overwritten() const;
  // Groups as the problem has them, in its layout; a test may break them for one call.
  std::vector<std::int64_t> segments;
  std::vector<std::int32_t> segments_32;
  std::vector<std::int32_t> masked_m;
  std::vector<std::int64_t> experts;  // masked: in some problems none, group g is expert g
  std::vector<float> scale_a;
  std::vector<float> scale_b;
  [[nodiscard]] std::string describe() const;

 private:
  void mask_groups(std::mt19937_64& generator);
  [[nodiscard]] bool is_of_a_group(std::int64_t row) const;

  Combination combination_;
  Problem problem_;
  TileConfig tile_;
  std::int64_t rows_ = 0;
  std::int64_t pitch_a_ = 0, pitch_b_ = 0, pitch_c_ = 0;
  ElementType c_type_ = ElementType::float32;
  std::int64_t first_ = 0, last_ = 0;  // rows of groups: from the one to before the other
  std::int64_t max_m_ = 0;             // where they are masked: a group's, those behind its count included
  std::vector<std::byte> a_, b_, c_, workspace_;
};

}  // namespace expertile::testing

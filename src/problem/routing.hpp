#pragma once
// How rows fall on experts.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"

namespace expertile {

struct Routing {
  enum class Kind { uniform, zipf, trace };
  Kind kind = Kind::uniform;
  double alpha = 0;  // zipf
  std::uint64_t seed = 0;
  std::string text = "uniform";                  // as given
  std::vector<std::vector<std::int64_t>> trace;  // one line of per-expert row counts per sample
};

// One call's segments: groups in expert order, one group per expert (empty ones too).
struct RoutingSample {
  std::vector<std::int64_t> seg_indptr;      // [E + 1]
  std::vector<std::int64_t> weight_indices;  // [E]
  [[nodiscard]] std::int64_t rows() const { return seg_indptr.back(); }
  [[nodiscard]] std::int64_t active_groups() const;
};

// "uniform", "zipf:ALPHA" or "trace:FILE"; reads and validates the trace file (bounded size; one error line that names
// file, line and value).
[[nodiscard]] Result<Routing> parse_routing(std::string_view text, std::uint64_t seed);

// `count` samples of batch tokens with top_k experts each, without replacement; a trace gives every one of its samples
// whatever batch and count say. Deterministic in (routing, experts, top_k, batch). Error: trace lines whose length is
// not `experts`; top_k > experts.
[[nodiscard]] Result<std::vector<RoutingSample>> routing_samples(const Routing& routing, std::int64_t experts,
                                                                 std::int64_t top_k, std::int64_t batch, int count);

}  // namespace expertile

#pragma once
// What a tile was tuned for beyond the name and the folder of its file, and what of it a problem on a device differs
// in.

#include <string>
#include <string_view>
#include <vector>

#include "expertile/device.hpp"
#include "expertile/grouped_gemm.hpp"
#include "expertile/problem.hpp"
#include "store/config_file.hpp"

namespace expertile {

struct Condition {
  std::string_view key;   // in the metadata
  std::string value;      // as it stands there
  Match otherwise{};      // of a tile that says another value
  std::string_view word;  // for the key, in a line for people
};
// Worst first.
[[nodiscard]] std::vector<Condition> conditions_of(const Problem& problem, const DeviceInfo& device);

struct Difference {
  Match match = Match::exact;
  std::string text;  // "tuned at top_k 2, this is 8"; all of them, the worst first
};
// What is not said counts as the same. said is hostile text.
[[nodiscard]] Difference difference(const Metadata& said, const std::vector<Condition>& conditions);

}  // namespace expertile

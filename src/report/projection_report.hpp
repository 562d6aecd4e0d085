#pragma once
// What one run says about one projection: the value that the table and the JSON documents are made from.

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "expertile/grouped_gemm.hpp"
#include "problem/model/activation.hpp"
#include "tune/result.hpp"

namespace expertile {

struct ResultRow {
  BatchResult result;
  Match match = Match::built_in;  // how a call would find result.tile now
  std::string differs{};          // as in Selection
};

struct ProjectionReport {
  std::string projection;  // "gate_up", "up" or "down"
  Problem problem;
  std::filesystem::path file;  // written (tune) or taken (bench, show); empty: none
  std::vector<ResultRow> results;
  ModelActivation activation{};  // of the layer
};

// Of the chosen tile, in units of 10^9 a second; 0 where nothing was timed.
[[nodiscard]] inline double gflops(const BatchResult& result) {
  return result.tuned_us > 0 ? result.flops / result.tuned_us * 1e-3 : 0;
}
[[nodiscard]] inline double gbps(const BatchResult& result) {
  return result.tuned_us > 0 ? result.bytes / result.tuned_us * 1e-3 : 0;
}
// Of the machine's own limits; nothing where nothing was timed, and where it took less than these limits allow: then
// they were measured while the machine was busy, or do not hold, as for tensors that stay in a cache.
[[nodiscard]] inline std::optional<double> percent_of_ceiling(const BatchResult& result) {
  if (result.tuned_us <= 0) return std::nullopt;
  const double percent = 100 * result.ceiling_us / result.tuned_us;
  constexpr double kAsGood = 105;  // the limits are measured to a few percent: reading alone passes a copy's rate by 3
  if (percent >= kAsGood) return std::nullopt;
  return std::min(percent, 100.0);
}

}  // namespace expertile

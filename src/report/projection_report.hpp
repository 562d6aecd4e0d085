#pragma once
// What one run says about one projection: the value that the table and the JSON documents are made from.

#include <filesystem>
#include <string>
#include <vector>

#include "tune/tuner.hpp"

namespace expertile {

struct ResultRow {
  BatchResult result;
  Match match = Match::built_in;  // how a call would find result.tile now
};

struct ProjectionReport {
  std::string projection;  // "gate_up" or "down"
  Problem problem;
  std::filesystem::path file;  // written (tune) or taken (bench, show); empty: none
  std::vector<ResultRow> results;
};

// Of the chosen tile, in units of 10^9 a second; 0 where nothing was timed.
[[nodiscard]] inline double gflops(const BatchResult& result) {
  return result.tuned_us > 0 ? result.flops / result.tuned_us * 1e-3 : 0;
}
[[nodiscard]] inline double gbps(const BatchResult& result) {
  return result.tuned_us > 0 ? result.bytes / result.tuned_us * 1e-3 : 0;
}
[[nodiscard]] inline double percent_of_ceiling(const BatchResult& result) {
  return result.tuned_us > 0 ? 100 * result.ceiling_us / result.tuned_us : 0;
}

}  // namespace expertile

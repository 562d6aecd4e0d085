#pragma once
// What a measuring process is told, and what it says line by line. Both ends are this program, but the text is checked
// all the same: a process that breaks may write anything.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tune/tuner.hpp"

namespace expertile {

// The job: tune these batch sizes of one of the run's problems.
struct WorkerJob {
  std::size_t problem = 0;  // its place in the run
  std::vector<std::int64_t> batches;
  std::optional<Ceiling> ceiling;  // measured by an earlier process
  std::vector<RefusedTile> refused;
};
[[nodiscard]] std::string to_text(const WorkerJob& job);
[[nodiscard]] Result<WorkerJob> parse_worker_job(std::string_view text);

struct WorkerMessage {
  enum class Kind { trying, timed, ceiling, decided, failed };
  Kind kind = Kind::trying;
  std::int64_t batch = 0;  // trying, timed
  TileConfig tile{};       // trying, timed
  double best_us = 0;      // timed
  Ceiling ceiling{};
  BatchResult result{};  // decided
  Error error{};         // failed
};
// One line, without its end.
[[nodiscard]] std::string to_text(const WorkerMessage& message);
[[nodiscard]] Result<WorkerMessage> parse_worker_message(std::string_view line);

}  // namespace expertile

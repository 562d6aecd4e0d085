#pragma once
// Whom a run tells what. Nothing in this room prints: the command line and programs listen here.

#include <functional>
#include <string_view>
#include <vector>

#include "expertile/tune.hpp"
#include "report/projection_report.hpp"

namespace expertile::run {

// As TuneEvents, with the run's own values. Any may be empty.
struct Events {
  using Line = std::function<void(std::string_view line)>;
  Line notice{};
  Line warning{};
  Line step{};
  // Before anything is measured: the problems, and the files to come.
  std::function<void(const std::vector<ProjectionReport>& reports)> planned{};
  std::function<void(const TuneProgress& now)> progress{};
  std::function<void(const TuneProgress& now, const ResultRow& row)> decided{};
  std::function<bool()> stop_requested{};
};

// Without notices, steps and progress where `quiet` says so.
[[nodiscard]] Events audible(Events events, bool quiet);

// Each line is told, if anybody listens.
void tell(const Events::Line& to, std::string_view line);
void tell_all(const Events::Line& to, const std::vector<std::string>& lines);

}  // namespace expertile::run

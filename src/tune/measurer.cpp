#include "tune/measurer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "device/device_info.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

using Clock = std::chrono::steady_clock;

// Calls so long, in us, are timed by fewer at a time.
constexpr double kLongCall = 1500;
constexpr std::size_t kFewestCalls = 4;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Weights that fit the last cache would be timed warm; consecutive calls take turns on so many copies that they are
// cold. needed: bytes of one copy.
int cold_copies(const DeviceInfo& device, const Problem& problem, const Batch& smallest, double needed) {
  const bool is_gpu = device.is_gpu();
  const double most_bytes = is_gpu ? 0.25 * static_cast<double>(device.free_memory_bytes) : 1.25 * (1 << 30);
  const double most_copies = is_gpu ? 8 : 4;
  // The weights that the smallest batch size touches.
  const double active = static_cast<double>(smallest.samples.front().active_groups());
  const double touched = bytes_moved(problem, 0, std::max(active, 1.0));
  const double wanted = std::ceil(3.0 * static_cast<double>(last_cache_bytes(device)) / touched);
  return static_cast<int>(std::clamp(std::min(wanted, most_bytes / needed), 1.0, most_copies));
}

}  // namespace

Result<Measurer> Measurer::make(const TuningJob& job, const TuneOptions& options, const std::vector<Batch>& batches) {
  Measurer measurer(job, options);
  if (batches.empty()) return measurer;
  std::int64_t most_rows = 1;
  for (const Batch& batch : batches) most_rows = std::max(most_rows, batch.most_rows());
  const DeviceInfo& device = job.backend.info();
  const double needed = tensor_bytes(job.problem, static_cast<double>(most_rows));
  const auto memory = static_cast<double>(device.free_memory_bytes);
  if (memory > 0 && needed > memory) {
    return fail(ErrorCode::unsupported,
                fmt::format("the tensors need {:.1f} GiB, {} has {:.1f} GiB free; give a smaller problem or batch size",
                            needed / (1 << 30), device.name, memory / (1 << 30)));
  }
  const int copies = cold_copies(device, job.problem, batches.front(), needed);
  for (int copy = 0; copy < copies; ++copy) {
    auto tensors = Tensors::make(job.backend, job.problem, most_rows, job.routing.seed);
    if (!tensors) return fail(tensors.error());
    measurer.tensors_.push_back(std::move(*tensors));
  }
  measurer.calls_a_timing_ = job.backend.calls_a_timing();
  return measurer;
}

void Measurer::begin() {
  best_us_ = 0;
  seconds_waited_ = 0;
  seconds_measured_ = 0;
}

double Measurer::waited() const {
  const DeviceInfo& device = job_->backend.info();
  if (device.is_gpu() || seconds_measured_ <= 0) return 0;
  return std::min(1.0, seconds_waited_ / (seconds_measured_ * device.cpu().threads));
}

std::size_t Measurer::period(const Batch& batch) const {
  const std::size_t samples = batch.routings.size();
  return samples / std::gcd(samples, calls_a_timing_);
}

// So many calls for one timing, each on another routing sample and copy of the tensors.
std::vector<GroupedGemmArgs> Measurer::next_calls(const Batch& batch, std::size_t round, std::size_t count) {
  std::vector<GroupedGemmArgs> calls;
  for (std::size_t i = 0; i < count; ++i) {
    const PlacedRouting& routing = batch.routings[(round * count + i) % batch.routings.size()];
    calls.push_back(tensors_[calls_++ % tensors_.size()].args(routing, routing.rows()));
  }
  return calls;
}

Status Measurer::run(Contest& contest, std::span<const TileConfig> tiles, const Batch& batch, double seconds) {
  const auto start = Clock::now();
  const double waited_before = options_->seconds_waited();
  auto status = time_heats(contest, tiles, batch, seconds);
  seconds_waited_ += options_->seconds_waited() - waited_before;
  seconds_measured_ += seconds_since(start);
  return status;
}

Status Measurer::time_heats(Contest& contest, std::span<const TileConfig> tiles, const Batch& batch, double seconds) {
  if (is_stopped()) return {};
  const auto start = Clock::now();
  const auto time_us = [&](const TileConfig& tile, std::size_t round, std::size_t count) -> Result<double> {
    const auto plan = plans_.of(tile);
    if (!plan) return fail(plan.error());
    return job_->backend.time_us(**plan, next_calls(batch, round, count), options_->calls);
  };
  // Every sample of a trace is timed, however long that takes.
  const std::size_t samples = batch.routings.size();
  const std::size_t rounds_owed = job_->routing.kind == Routing::Kind::trace ? samples : 0;
  std::size_t count = job_->backend.calls_a_timing();
  const auto warm_up = time_us(tiles[0], 0, count);  // pages, caches, threads
  if (!warm_up) return fail(warm_up.error());
  if (*warm_up > kLongCall) count = std::min(count, std::max(samples, kFewestCalls));
  calls_a_timing_ = count;
  for (;;) {
    const double spent = seconds > 0 ? seconds_since(start) / seconds : HUGE_VAL;
    const auto heat = contest.next(contest.rounds() < rounds_owed ? 0 : spent);
    if (!heat || is_stopped()) return {};
    const TileConfig& tile = tiles[heat->candidate];
    if (options_->trying) options_->trying(batch.size, tile);
    const auto microseconds = time_us(tile, heat->round, count);
    if (!microseconds) return fail(microseconds.error());
    contest.notify(*heat, *microseconds);
    best_us_ = best_us_ == 0 ? *microseconds : std::min(best_us_, *microseconds);
    if (options_->progress) options_->progress(batch.size, tile, best_us_);
  }
}

}  // namespace expertile

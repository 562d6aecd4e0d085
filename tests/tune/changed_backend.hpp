#pragma once
// The CPU's backend with something changed: results that are wrong, times that are made up.

#include <filesystem>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.hpp"

namespace expertile::testing {

// Done to C behind every run.
using Spoil = std::function<void(const Problem&, const TileConfig&, const GroupedGemmArgs&)>;

// One element is wrong, for tiles of a given BLOCK_SIZE_M.
inline Spoil wrong_for_block_size_m(int broken) {
  return [broken](const Problem&, const TileConfig& tile, const GroupedGemmArgs& args) {
    if (tile.block_size_m == broken) static_cast<BFloat16*>(args.c.data)[args.c.cols - 1] = to_bfloat16(1e4F);
  };
}

class ChangedBackend : public Backend {
 public:
  explicit ChangedBackend(Spoil spoil = {}) : inner_(*open_backend("cpu", 2)), spoil_(std::move(spoil)) {}
  [[nodiscard]] const DeviceInfo& info() const noexcept override { return inner_->info(); }
  [[nodiscard]] std::vector<Result<SharedPlan>> plan(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                     const std::vector<CallTypes>& types,
                                                     SlowKernels slow) const override {
    return inner_->plan(problem, tiles, types, slow);
  }
  [[nodiscard]] Status run(const CallPlan& plan, const GroupedGemmArgs& args) const override {
    if (auto status = inner_->run(plan, args); !status) return status;
    if (spoil_) spoil_(plan.problem(), plan.tile(), args);
    return {};
  }
  [[nodiscard]] std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) const noexcept override {
    return inner_->workspace_bytes(problem, rows);
  }
  [[nodiscard]] Status synchronise() const override { return inner_->synchronise(); }
  [[nodiscard]] Status check_pointers(const GroupedGemmArgs& args) const override {
    return inner_->check_pointers(args);
  }
  [[nodiscard]] Result<SharedLayerPlan> plan_layer(const MoeProblem& problem) const override {
    return inner_->plan_layer(problem);
  }
  [[nodiscard]] Status run_layer(const LayerPlan& plan, const ProductPlans& products,
                                 const MoeLayerArgs& args) const override {
    return inner_->run_layer(plan, products, args);
  }
  [[nodiscard]] Status check_pointers(const MoeLayerArgs& args) const override { return inner_->check_pointers(args); }
  [[nodiscard]] Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls,
                                       Calls how) const override {
    return inner_->time_us(plan, calls, how);
  }
  [[nodiscard]] std::size_t calls_a_timing() const noexcept override { return inner_->calls_a_timing(); }
  [[nodiscard]] double bandwidth() const override { return inner_->bandwidth(); }
  [[nodiscard]] Result<Buffer> allocate(std::size_t bytes) const override { return inner_->allocate(bytes); }
  [[nodiscard]] Status fill(const Buffer& buffer, std::span<const std::byte> pattern) const override {
    return inner_->fill(buffer, pattern);
  }
  [[nodiscard]] Status download(const void* from, std::span<std::byte> to) const override {
    return inner_->download(from, to);
  }

 private:
  std::shared_ptr<const Backend> inner_;
  Spoil spoil_;
};

}  // namespace expertile::testing

#pragma once
// The kernels that a device has loaded, found again by their specification.

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "backend/cuda/context.hpp"
#include "jit/cubin_cache.hpp"
#include "kernel_spec.hpp"
#include "plan/launch_plan.hpp"

namespace expertile::cuda {

// For whatever problem has this specification.
struct LoadedKernel {
  KernelSpec spec{};
  FunctionHandle function = nullptr;
  std::int64_t blocks_at_once = 1;  // that the device runs
};

struct WantedKernel {
  LaunchPlan plan{};
  bool may_be_slow = false;  // better than none: it is not what was tuned
};

// A kernel of a layer's step, and the most shared memory that its blocks ask for.
struct LayerStep {
  jit::Source source{};
  int shared_bytes = 0;
};

// One set for all operations of a device. Threads may look kernels up while others add some. Nothing is ever unloaded:
// enqueued work and captured graphs may use it.
class KernelCache {
 public:
  // arch: "sm_90a".
  KernelCache(std::shared_ptr<const PrimaryContext> context, std::string arch, int multiprocessors);

  // Compiles (or finds on disk) and loads what is missing. A kernel each, which lives as long as this, or why there is
  // none.
  [[nodiscard]] std::vector<Result<const LoadedKernel*>> load(const std::vector<WantedKernel>& wanted);
  // Likewise, the kernel that quantises A; where rows are masked, those that are there.
  [[nodiscard]] Result<FunctionHandle> load_quantise(Storage a, bool is_masked);
  // Likewise, kernels of a layer's steps, by their source; a function each.
  [[nodiscard]] std::vector<Result<FunctionHandle>> load_steps(const std::vector<LayerStep>& wanted);
  // Compiles what is missing onto the disk, where load finds it. Beside any other call.
  void compile_ahead(const std::vector<KernelSpec>& specs) const;
  // Looks for compiled kernels in this directory too.
  void use(const std::filesystem::path& directory);
  // Stores these compiled kernels there, and the one that quantises `quantised`, if any.
  [[nodiscard]] Status keep(const std::vector<WantedKernel>& wanted, std::optional<Storage> quantised,
                            const std::filesystem::path& directory) const;
  // "13.0", or why there is none.
  [[nodiscard]] std::string nvrtc_version() const;
  // How many modules are loaded.
  [[nodiscard]] std::size_t size() const;

 private:
  [[nodiscard]] std::vector<Result<jit::Cubin>> compile(const std::vector<jit::CompileRequest>& requests) const;
  [[nodiscard]] std::vector<jit::CompileRequest> requests_of(const std::vector<KernelSpec>& specs) const;
  [[nodiscard]] const LoadedKernel* find(const KernelSpec& spec) const;
  [[nodiscard]] Result<const LoadedKernel*> load_one(const WantedKernel& wanted, const jit::Cubin& cubin);
  // A cluster's blocks need multiprocessors that stand together: 132 take 30 clusters of four, not 33.
  [[nodiscard]] std::int64_t blocks_at_once(const LaunchPlan& plan, FunctionHandle function) const;
  [[nodiscard]] Result<FunctionHandle> load_module(const jit::Cubin& cubin, const char* name, int shared_bytes) const;

  std::shared_ptr<const PrimaryContext> context_;
  const Driver& driver_;
  std::string arch_;
  int multiprocessors_;
  std::vector<std::filesystem::path> directories_;  // of kernels that are kept beside files
  std::mutex loading_;
  mutable std::shared_mutex mutex_;  // of what follows and of directories_
  std::vector<std::unique_ptr<const LoadedKernel>> kernels_;
  FunctionHandle quantise_[2][3] = {};             // all rows, masked ones; float16, bfloat16, float32
  std::map<std::string, FunctionHandle> steps_{};  // of layers, by their text
};

}  // namespace expertile::cuda

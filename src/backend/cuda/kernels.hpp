#pragma once
// The kernels that a device has loaded, found again by their specification.

#include <filesystem>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "backend/cuda/driver.hpp"
#include "jit/cubin_cache.hpp"
#include "jit/nvrtc.hpp"
#include "kernel_spec.hpp"

namespace expertile::cuda {

struct LoadedKernel {
  KernelSpec spec;
  FunctionHandle function = nullptr;
  std::int64_t blocks_at_once = 1;  // that the device runs
};

struct WantedKernel {
  KernelSpec spec;
  bool may_be_slow = false;  // better than none: it is not what was tuned
};

// Threads may look kernels up while others add some. Nothing is ever removed before the end.
class KernelShelf {
 public:
  // The context must outlive the shelf. arch: "sm_90a".
  KernelShelf(const Driver& driver, ContextHandle context, std::string arch, int multiprocessors);
  ~KernelShelf();
  KernelShelf(const KernelShelf&) = delete;
  KernelShelf& operator=(const KernelShelf&) = delete;

  // Compiles (or finds in the cache) and loads what is missing. One status a kernel.
  [[nodiscard]] std::vector<Status> add(const std::vector<WantedKernel>& wanted);
  // Compiles what is missing into the cache, where add finds it. Beside any other call.
  void compile_ahead(const std::vector<KernelSpec>& specs) const;
  [[nodiscard]] Status add_quantise(Storage a);
  // Looks for compiled kernels there too.
  void use(const std::filesystem::path& directory);
  // Stores these compiled kernels there, and the one that quantises `quantised`, if any.
  [[nodiscard]] Status keep(const std::vector<WantedKernel>& wanted, std::optional<Storage> quantised,
                            const std::filesystem::path& directory);
  // Null when it was never added.
  [[nodiscard]] const LoadedKernel* find(const KernelSpec& spec) const;
  [[nodiscard]] FunctionHandle quantise(Storage a) const;
  // "13.0", or why there is none.
  [[nodiscard]] std::string nvrtc_version() const;

 private:
  [[nodiscard]] std::vector<Result<jit::Cubin>> compile(const std::vector<jit::CompileRequest>& requests) const;
  [[nodiscard]] jit::CompileRequest request(jit::Source source) const;
  [[nodiscard]] jit::CompileRequest request(const KernelSpec& spec) const;
  // A cluster's blocks need multiprocessors that stand together: 132 take 30 clusters of four, not 33.
  [[nodiscard]] std::int64_t blocks_at_once(const KernelSpec& spec, FunctionHandle function) const;
  [[nodiscard]] Result<FunctionHandle> load(const jit::Cubin& cubin, const char* name, int shared_bytes);

  const Driver& driver_;
  ContextHandle context_;
  std::string arch_;
  int multiprocessors_;
  Result<jit::Nvrtc> nvrtc_;
  std::vector<jit::CubinCache> caches_;
  mutable std::shared_mutex mutex_;
  std::vector<std::unique_ptr<LoadedKernel>> kernels_;
  FunctionHandle quantise_[3] = {};  // float16, bfloat16, float32
  std::vector<ModuleHandle> modules_;
};

}  // namespace expertile::cuda

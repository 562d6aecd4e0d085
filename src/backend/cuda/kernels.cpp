#include "backend/cuda/kernels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "jit/compile_all.hpp"
#include "jit/kernel_source.hpp"
#include "jit/ptxas_report.hpp"
#include "kernel_shape.hpp"

namespace expertile::cuda {
namespace {

constexpr int kMaxDynamicShared = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr std::int64_t kMostCacheBytes = std::int64_t{1} << 30;

}  // namespace

KernelShelf::KernelShelf(const Driver& driver, ContextHandle context, std::string arch, int multiprocessors)
    : driver_(driver),
      context_(context),
      arch_(std::move(arch)),
      multiprocessors_(multiprocessors),
      nvrtc_(jit::Nvrtc::open()),
      caches_{jit::CubinCache(jit::default_cubin_cache_directory(), kMostCacheBytes)} {}

KernelShelf::~KernelShelf() {
  const CurrentContext current(driver_, context_);
  for (const ModuleHandle module : modules_) driver_.unload_module(module);
}

std::string KernelShelf::nvrtc_version() const { return nvrtc_ ? nvrtc_->version() : nvrtc_.error().message; }

jit::CompileRequest KernelShelf::request(jit::Source source) const {
  return jit::kernel_request(std::move(source), arch_);
}

jit::CompileRequest KernelShelf::request(const KernelSpec& spec) const { return request(jit::kernel_source(spec)); }

std::vector<Result<jit::Cubin>> KernelShelf::compile(const std::vector<jit::CompileRequest>& requests) const {
  std::vector<jit::CubinCache> caches;
  {
    const std::shared_lock lock(mutex_);
    caches = caches_;
  }
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return jit::compile_all(nvrtc_ ? &*nvrtc_ : nullptr, caches, requests, threads);
}

void KernelShelf::compile_ahead(const std::vector<KernelSpec>& specs) const {
  std::vector<jit::CompileRequest> requests;
  for (const KernelSpec& spec : specs) {
    if (find(spec) == nullptr) requests.push_back(request(spec));
  }
  static_cast<void>(compile(requests));  // whoever needs them meets the errors
}

void KernelShelf::use(const std::filesystem::path& directory) {
  const std::unique_lock lock(mutex_);
  caches_.emplace_back(directory, kMostCacheBytes);
}

Status KernelShelf::keep(const std::vector<WantedKernel>& wanted, std::optional<Storage> quantised,
                         const std::filesystem::path& directory) {
  std::vector<jit::CompileRequest> requests;
  requests.reserve(wanted.size() + 1);
  for (const WantedKernel& one : wanted) requests.push_back(request(one.spec));
  if (quantised) requests.push_back(request(jit::quantise_source(*quantised)));
  const auto cubins = compile(requests);
  const jit::CubinCache kept(directory, kMostCacheBytes);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (!cubins[i]) return fail(cubins[i].error());
    const std::string version = nvrtc_ ? nvrtc_->version() : "cached";
    if (auto status = kept.store(requests[i], version, *cubins[i]); !status) return status;
  }
  return {};
}

Result<FunctionHandle> KernelShelf::load(const jit::Cubin& cubin, const char* name, int shared_bytes) {
  const CurrentContext current(driver_, context_);
  ModuleHandle module = nullptr;
  if (auto status = driver_.check(driver_.load_module(&module, cubin.image.data()), "loading a kernel"); !status) {
    return fail(status.error());
  }
  modules_.push_back(module);
  FunctionHandle function = nullptr;
  if (auto status = driver_.check(driver_.module_function(&function, module, name), "finding a kernel"); !status) {
    return fail(status.error());
  }
  if (auto status = driver_.check(driver_.set_function_attribute(function, kMaxDynamicShared, shared_bytes),
                                  "asking for shared memory");
      !status) {
    return fail(status.error());
  }
  return function;
}

std::int64_t KernelShelf::blocks_at_once(const KernelSpec& spec, FunctionHandle function) const {
  const int cluster = cluster_blocks(spec.tile);
  const int threads = threads_of(spec);
  const int shared_bytes = smem_bytes(spec);
  int fitting = 0;
  if (cluster == 1) {
    driver_.blocks_a_multiprocessor(&fitting, function, threads, static_cast<std::size_t>(shared_bytes));
    return std::int64_t{std::max(1, fitting)} * multiprocessors_;
  }
  LaunchConfig config;
  config.blocks[0] = static_cast<unsigned>(cluster);
  config.threads[0] = static_cast<unsigned>(threads);
  config.shared_bytes = static_cast<unsigned>(shared_bytes);
  driver_.clusters_at_once(&fitting, function, &config);
  return std::int64_t{fitting > 0 ? fitting : multiprocessors_ / cluster} * cluster;
}

std::vector<Status> KernelShelf::add(const std::vector<WantedKernel>& wanted) {
  std::vector<Status> statuses(wanted.size());
  std::vector<std::size_t> missing;
  std::vector<jit::CompileRequest> requests;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (find(wanted[i].spec) != nullptr) continue;
    missing.push_back(i);
    requests.push_back(request(wanted[i].spec));
  }
  if (missing.empty()) return statuses;
  const auto cubins = compile(requests);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    const auto& [spec, may_be_slow] = wanted[missing[i]];
    Status& status = statuses[missing[i]];
    if (!cubins[i]) {
      status = fail(cubins[i].error());
      continue;
    }
    if (!may_be_slow) status = jit::refuse_if_slow(cubins[i]->resources);
    if (!status || find(spec) != nullptr) continue;
    const std::unique_lock lock(mutex_);
    const auto function = load(*cubins[i], jit::kKernelName, smem_bytes(spec));
    if (!function) {
      status = fail(function.error());
      continue;
    }
    const CurrentContext current(driver_, context_);
    const LoadedKernel loaded{spec, *function, blocks_at_once(spec, *function)};
    kernels_.push_back(std::make_unique<LoadedKernel>(loaded));
  }
  return statuses;
}

Status KernelShelf::add_quantise(Storage a) {
  if (quantise(a) != nullptr) return {};
  const auto cubins = compile({request(jit::quantise_source(a))});
  if (!cubins[0]) return fail(cubins[0].error());
  const std::unique_lock lock(mutex_);
  const auto function = load(*cubins[0], jit::kQuantiseName, 0);
  if (!function) return fail(function.error());
  quantise_[static_cast<int>(a)] = *function;
  return {};
}

const LoadedKernel* KernelShelf::find(const KernelSpec& spec) const {
  const std::shared_lock lock(mutex_);
  for (const auto& kernel : kernels_) {
    if (kernel->spec == spec) return kernel.get();
  }
  return nullptr;
}

FunctionHandle KernelShelf::quantise(Storage a) const {
  const std::shared_lock lock(mutex_);
  return quantise_[static_cast<int>(a)];
}

}  // namespace expertile::cuda

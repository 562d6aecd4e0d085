#include "backend/cuda/kernel_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "files/files.hpp"
#include "jit/compile_all.hpp"
#include "jit/kernel_source.hpp"
#include "jit/nvrtc.hpp"
#include "jit/ptxas_report.hpp"
#include "jit/side_by_side.hpp"
#include "plan/distinct.hpp"

namespace expertile::cuda {
namespace {

constexpr int kMaxDynamicShared = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr std::int64_t kMostCacheBytes = std::int64_t{1} << 30;
constexpr int kLoaders = 4;  // threads that hand kernels to the driver

}  // namespace

KernelCache::KernelCache(std::shared_ptr<const PrimaryContext> context, std::string arch, int multiprocessors)
    : context_(std::move(context)),
      driver_(context_->driver()),
      arch_(std::move(arch)),
      multiprocessors_(multiprocessors) {}

std::string KernelCache::nvrtc_version() const {
  const auto nvrtc = jit::Nvrtc::open();
  return nvrtc ? nvrtc->version() : nvrtc.error().message;
}

std::size_t KernelCache::size() const {
  const std::shared_lock lock(mutex_);
  return kernels_.size();
}

// The text of a kernel takes a fifth of a millisecond to write.
std::vector<jit::CompileRequest> KernelCache::requests_of(const std::vector<KernelSpec>& specs) const {
  std::vector<jit::CompileRequest> requests(specs.size());
  jit::side_by_side(specs.size(), jit::all_threads(),
                    [&](std::size_t i) { requests[i] = jit::kernel_request(jit::kernel_source(specs[i]), arch_); });
  return requests;
}

std::vector<Result<jit::Cubin>> KernelCache::compile(const std::vector<jit::CompileRequest>& requests) const {
  std::vector<jit::CubinCache> caches{{jit::default_cubin_cache_directory(), kMostCacheBytes}};
  {
    const std::shared_lock lock(mutex_);
    for (const auto& directory : directories_) caches.emplace_back(directory, kMostCacheBytes);
  }
  // What the environment says now counts: NVRTC and the cache may have been named since the device was opened.
  const auto nvrtc = jit::Nvrtc::open();
  return jit::compile_all(nvrtc ? &*nvrtc : nullptr, caches, requests, jit::all_threads());
}

void KernelCache::compile_ahead(const std::vector<KernelSpec>& specs) const {
  std::vector<KernelSpec> missing = specs;
  std::erase_if(missing, [this](const KernelSpec& spec) { return find(spec) != nullptr; });
  static_cast<void>(compile(requests_of(missing)));  // whoever needs them meets the errors
}

void KernelCache::use(const std::filesystem::path& directory) {
  const std::unique_lock lock(mutex_);
  if (std::find(directories_.begin(), directories_.end(), directory) == directories_.end()) {
    directories_.push_back(directory);
  }
}

Status KernelCache::keep(const std::vector<WantedKernel>& wanted, std::optional<Storage> quantised,
                         const std::filesystem::path& directory) const {
  std::vector<KernelSpec> specs;
  specs.reserve(wanted.size());
  for (const WantedKernel& one : wanted) specs.push_back(one.plan.spec);
  std::vector<jit::CompileRequest> requests = requests_of(specs);
  if (quantised) requests.push_back(jit::kernel_request(jit::quantise_source(*quantised), arch_));
  const auto cubins = compile(requests);
  const jit::CubinCache kept(directory, kMostCacheBytes);
  const auto nvrtc = jit::Nvrtc::open();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (!cubins[i]) return fail(cubins[i].error());
    if (auto status = kept.store(requests[i], nvrtc ? nvrtc->version() : "cached", *cubins[i]); !status) return status;
  }
  return {};
}

Result<FunctionHandle> KernelCache::load_module(const jit::Cubin& cubin, const char* name, int shared_bytes) const {
  const CurrentContext current(driver_, context_->handle());
  ModuleHandle module = nullptr;
  FunctionHandle function = nullptr;
  Status status = driver_.check(driver_.load_module(&module, cubin.image.data()), "loading a kernel");
  if (status) status = driver_.check(driver_.module_function(&function, module, name), "finding a kernel");
  if (status) {
    status = driver_.check(driver_.set_function_attribute(function, kMaxDynamicShared, shared_bytes),
                           "asking for shared memory");
  }
  if (!status) return fail(status.error());
  return function;
}

std::int64_t KernelCache::blocks_at_once(const LaunchPlan& plan, FunctionHandle function) const {
  const CurrentContext current(driver_, context_->handle());
  int fitting = 0;
  if (plan.cluster_blocks == 1) {
    driver_.blocks_a_multiprocessor(&fitting, function, plan.threads, static_cast<std::size_t>(plan.shared_bytes));
    return std::int64_t{std::max(1, fitting)} * multiprocessors_;
  }
  LaunchConfig config;
  config.blocks[0] = static_cast<unsigned>(plan.cluster_blocks);
  config.threads[0] = static_cast<unsigned>(plan.threads);
  config.shared_bytes = static_cast<unsigned>(plan.shared_bytes);
  driver_.clusters_at_once(&fitting, function, &config);
  return std::int64_t{fitting > 0 ? fitting : multiprocessors_ / plan.cluster_blocks} * plan.cluster_blocks;
}

std::vector<Result<const LoadedKernel*>> KernelCache::load(const std::vector<WantedKernel>& wanted) {
  std::vector<Result<const LoadedKernel*>> loaded(wanted.size());
  std::vector<std::size_t> missing;
  std::vector<KernelSpec> specs;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    loaded[i] = find(wanted[i].plan.spec);
    if (*loaded[i] != nullptr) continue;
    missing.push_back(i);
    specs.push_back(wanted[i].plan.spec);
  }
  if (missing.empty()) return loaded;
  const auto cubins = compile(requests_of(specs));
  const std::lock_guard one_at_a_time(loading_);  // each kernel is loaded once
  const std::vector<std::size_t> first = first_equals(specs);
  jit::side_by_side(missing.size(), kLoaders, [&](std::size_t m) {
    if (first[m] != m) return;
    loaded[missing[m]] = cubins[m] ? load_one(wanted[missing[m]], *cubins[m]) : fail(cubins[m].error());
  });
  for (std::size_t m = 0; m < missing.size(); ++m) loaded[missing[m]] = loaded[missing[first[m]]];
  return loaded;
}

Result<const LoadedKernel*> KernelCache::load_one(const WantedKernel& wanted, const jit::Cubin& cubin) {
  const LaunchPlan& plan = wanted.plan;
  // Another thread's, since it was looked for.
  if (const LoadedKernel* known = find(plan.spec); known != nullptr) return known;
  if (!wanted.may_be_slow) {
    if (auto status = jit::refuse_if_slow(cubin.resources); !status) return fail(status.error());
  }
  const auto function = load_module(cubin, jit::kKernelName, plan.shared_bytes);
  if (!function) return fail(function.error());
  auto made = std::make_unique<const LoadedKernel>(LoadedKernel{plan.spec, *function, blocks_at_once(plan, *function)});
  const std::unique_lock lock(mutex_);
  return kernels_.emplace_back(std::move(made)).get();
}

Result<FunctionHandle> KernelCache::load_quantise(Storage a, bool is_masked) {
  FunctionHandle& known = quantise_[is_masked ? 1 : 0][static_cast<std::size_t>(a)];
  {
    const std::shared_lock lock(mutex_);
    if (known != nullptr) return known;
  }
  const auto cubins = compile({jit::kernel_request(jit::quantise_source(a, is_masked), arch_)});
  if (!cubins[0]) return fail(cubins[0].error());
  const auto function = load_module(*cubins[0], jit::kQuantiseName, 0);
  if (!function) return fail(function.error());
  const std::unique_lock lock(mutex_);
  if (known == nullptr) known = *function;
  return known;
}

std::vector<Result<FunctionHandle>> KernelCache::load_steps(const std::vector<LayerStep>& wanted) {
  std::vector<Result<FunctionHandle>> loaded(wanted.size());
  std::vector<jit::CompileRequest> requests;
  std::vector<std::size_t> missing;
  const std::lock_guard one_at_a_time(loading_);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (const auto known = steps_.find(wanted[i].source.text); known != steps_.end()) {
      loaded[i] = known->second;
    } else {
      missing.push_back(i);
      requests.push_back(jit::kernel_request(wanted[i].source, arch_));
    }
  }
  const auto cubins = requests.empty() ? std::vector<Result<jit::Cubin>>() : compile(requests);
  for (std::size_t m = 0; m < missing.size(); ++m) {
    const LayerStep& step = wanted[missing[m]];
    Result<FunctionHandle>& function = loaded[missing[m]];
    function = cubins[m] ? load_module(*cubins[m], jit::kStepName, step.shared_bytes) : fail(cubins[m].error());
    if (function) steps_.emplace(step.source.text, *function);
  }
  return loaded;
}

const LoadedKernel* KernelCache::find(const KernelSpec& spec) const {
  const std::shared_lock lock(mutex_);
  for (const auto& kernel : kernels_) {
    if (kernel->spec == spec) return kernel.get();
  }
  return nullptr;
}

}  // namespace expertile::cuda

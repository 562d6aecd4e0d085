#include "backend/cuda/cuda_backend.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "backend/cuda/call_plan.hpp"
#include "backend/cuda/layer_chain.hpp"
#include "backend/cuda/pointers.hpp"
#include "backend/cuda/timing.hpp"
#include "plan/candidates.hpp"
#include "plan/kernel_plan.hpp"

namespace expertile::cuda {
namespace {

constexpr std::size_t kCallsATiming = 8;

DevicePointer address(const void* pointer) { return reinterpret_cast<DevicePointer>(pointer); }

// A stream of our own: not ordered with the default stream.
class OwnStream {
 public:
  explicit OwnStream(std::shared_ptr<const PrimaryContext> context) : context_(std::move(context)) {
    const CurrentContext current(context_->driver(), context_->handle());
    context_->driver().stream_create(&stream_, 1);
  }
  ~OwnStream() {
    const CurrentContext current(context_->driver(), context_->handle());
    context_->driver().stream_destroy(stream_);
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  [[nodiscard]] StreamHandle handle() const { return stream_; }

 private:
  std::shared_ptr<const PrimaryContext> context_;
  StreamHandle stream_ = nullptr;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const std::shared_ptr<const PrimaryContext>& context, DeviceInfo info)
      : context_(context),
        driver_(context->driver()),
        info_(std::move(info)),
        kernels_(context, arch_name(info_.gpu()), info_.gpu().multiprocessors),
        pointers_(driver_, context->handle(), context->index(), info_.name),
        stream_(context),
        launcher_(context, info_, stream_.handle()) {
    info_.free_memory_bytes = context->free_memory_bytes();
    info_.versions["NVRTC"] = kernels_.nvrtc_version();
  }

  [[nodiscard]] const DeviceInfo& info() const noexcept override { return info_; }

  [[nodiscard]] std::vector<Result<SharedPlan>> plan(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                     const std::vector<CallTypes>& types,
                                                     SlowKernels slow) const override;
  [[nodiscard]] Status run(const CallPlan& plan, const GroupedGemmArgs& args) const override {
    if (auto status = context_->check_forks(); !status) return status;
    const CurrentContext current(driver_, context_->handle());
    return launcher_.enqueue(static_cast<const CudaCallPlan&>(plan), args, static_cast<StreamHandle>(args.stream));
  }
  [[nodiscard]] std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) const noexcept override {
    return expertile::workspace_bytes(problem, rows);
  }
  [[nodiscard]] Status check_pointers(const GroupedGemmArgs& args) const override {
    if (auto status = context_->check_forks(); !status) return status;
    return pointers_.check(args);
  }
  [[nodiscard]] Result<SharedLayerPlan> plan_layer(const MoeProblem& problem) const override {
    if (auto status = context_->check_forks(); !status) return fail(status.error());
    return make_layer_plan(problem, kernels_);
  }
  [[nodiscard]] Status run_layer(const LayerPlan& plan, const ProductPlans& products,
                                 const MoeLayerArgs& args) const override {
    if (auto status = context_->check_forks(); !status) return status;
    const CurrentContext current(driver_, context_->handle());
    return enqueue_layer(launcher_, static_cast<const CudaLayerPlan&>(plan), products, args);
  }
  [[nodiscard]] Status check_pointers(const MoeLayerArgs& args) const override {
    if (auto status = context_->check_forks(); !status) return status;
    return pointers_.check(args);
  }
  [[nodiscard]] Status synchronise() const override {
    if (auto status = context_->check_forks(); !status) return status;
    const CurrentContext current(driver_, context_->handle());
    return driver_.check(driver_.stream_synchronize(nullptr), "waiting for the GPU");
  }

  void compile_ahead(const Problem& problem, const std::vector<TileConfig>& tiles,
                     const CallTypes& types) const override {
    if (context_->is_of_a_parent()) return;
    std::vector<KernelSpec> specs;
    for (const WantedKernel& one : kernels_of(problem, tiles, types, SlowKernels::refused))
      specs.push_back(one.plan.spec);
    kernels_.compile_ahead(specs);
  }
  [[nodiscard]] Status keep_kernels(const Problem& problem, const std::vector<TileConfig>& tiles,
                                    const std::vector<CallTypes>& types,
                                    const std::filesystem::path& directory) const override;
  void use_kernels(const std::filesystem::path& directory) const override {
    if (!context_->is_of_a_parent()) kernels_.use(directory);
  }
  [[nodiscard]] std::size_t loaded_kernels() const noexcept override {
    return context_->is_of_a_parent() ? 0 : kernels_.size();
  }

  [[nodiscard]] Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls,
                                       Calls how) const override;
  [[nodiscard]] std::size_t calls_a_timing() const noexcept override { return kCallsATiming; }
  [[nodiscard]] double bandwidth() const override;

  [[nodiscard]] Result<Buffer> allocate(std::size_t bytes) const override;
  [[nodiscard]] Status fill(const Buffer& buffer, std::span<const std::byte> pattern) const override;
  [[nodiscard]] Status download(const void* from, std::span<std::byte> to) const override {
    if (auto status = context_->check_forks(); !status) return status;
    const CurrentContext current(driver_, context_->handle());
    return driver_.check(driver_.download(to.data(), address(from), to.size()), "copying from the GPU");
  }

 private:
  // The tiles', for calls of these types whose rows are aligned.
  [[nodiscard]] static std::vector<WantedKernel> kernels_of(const Problem& problem,
                                                            const std::vector<TileConfig>& tiles,
                                                            const CallTypes& types, SlowKernels slow);
  // For each of the types: the tiles', and last the one for calls whose rows are not aligned, which is slow whatever
  // the compiler does.
  [[nodiscard]] std::vector<WantedKernel> all_kernels(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                      const std::vector<CallTypes>& types, SlowKernels slow) const;

  std::shared_ptr<const PrimaryContext> context_;
  const Driver& driver_;
  DeviceInfo info_;
  mutable KernelCache kernels_;
  PointerCheck pointers_;
  OwnStream stream_;
  Launcher launcher_;
};

std::vector<WantedKernel> CudaBackend::kernels_of(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                  const CallTypes& types, SlowKernels slow) {
  const bool is_wide = allows_wide_loads(problem, types.a);
  std::vector<WantedKernel> wanted;
  wanted.reserve(tiles.size() + 1);
  for (const TileConfig& tile : tiles) {
    const LaunchPlan launch = make_launch_plan(problem, make_spec(problem, tile, types, is_wide));
    wanted.push_back({launch, slow == SlowKernels::taken || types != usual_types(problem)});
  }
  return wanted;
}

std::vector<WantedKernel> CudaBackend::all_kernels(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                   const std::vector<CallTypes>& types, SlowKernels slow) const {
  const TileConfig unaligned = portable_tile(problem, 16 * problem.experts, info_);
  std::vector<WantedKernel> all;
  for (const CallTypes& one : types) {
    const auto aligned = kernels_of(problem, tiles, one, slow);
    all.insert(all.end(), aligned.begin(), aligned.end());
    all.push_back({make_launch_plan(problem, make_spec(problem, unaligned, one, false)), true});
  }
  return all;
}

// A tile runs where it has kernels for all of the types.
std::vector<Result<SharedPlan>> CudaBackend::plan(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                  const std::vector<CallTypes>& types, SlowKernels slow) const {
  if (auto status = context_->check_forks(); !status) return {tiles.size(), fail(status.error())};
  Result<FunctionHandle> quantise = nullptr;
  if (quantises_a(problem) && !types.empty()) {
    const bool is_masked = types.front().rows == RowLayout::masked;
    quantise = kernels_.load_quantise(storage_of(activation_type(problem.dtype)).value(), is_masked);
  }
  if (!quantise) return {tiles.size(), fail(quantise.error())};
  const std::vector<WantedKernel> wanted = all_kernels(problem, tiles, types, slow);
  const auto loaded = kernels_.load(wanted);
  std::vector<Result<SharedPlan>> plans;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    auto made = std::make_shared<CudaCallPlan>(problem, tiles[t]);
    made->quantise = *quantise;
    Status status;
    for (std::size_t i = 0; i < types.size() && status; ++i) {
      const std::size_t own = i * (tiles.size() + 1) + t;
      const std::size_t any = i * (tiles.size() + 1) + tiles.size();
      if (!loaded[own] || !loaded[any]) {
        status = fail(loaded[own] ? loaded[any].error() : loaded[own].error());
        continue;
      }
      const BoundKernel tiles_own{wanted[own].plan, *loaded[own]};
      const BoundKernel for_any{wanted[any].plan, *loaded[any]};
      const bool is_wide = tiles_own.plan.spec.wide_loads;
      made->kernels.push_back(
          std::make_unique<BoundKernels>(types[i], is_wide ? tiles_own : BoundKernel{}, is_wide ? for_any : tiles_own));
    }
    plans.push_back(status ? Result<SharedPlan>(std::move(made)) : fail(status.error()));
  }
  return plans;
}

Status CudaBackend::keep_kernels(const Problem& problem, const std::vector<TileConfig>& tiles,
                                 const std::vector<CallTypes>& types, const std::filesystem::path& directory) const {
  if (auto status = context_->check_forks(); !status) return status;
  std::optional<Storage> quantised;
  if (quantises_a(problem)) quantised = storage_of(activation_type(problem.dtype)).value();
  return kernels_.keep(all_kernels(problem, tiles, types, SlowKernels::taken), quantised, directory);
}

Result<double> CudaBackend::time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls, Calls how) const {
  if (auto status = context_->check_forks(); !status) return fail(status.error());
  const CurrentContext current(driver_, context_->handle());
  const auto& own = static_cast<const CudaCallPlan&>(plan);
  const auto enqueue_all = [&]() -> Status {
    for (const GroupedGemmArgs& args : calls) {
      if (auto status = launcher_.enqueue(own, args, stream_.handle()); !status) return status;
    }
    return {};
  };
  const auto milliseconds = how == Calls::in_a_graph ? graph_ms(driver_, stream_.handle(), enqueue_all)
                                                     : stream_ms(driver_, stream_.handle(), enqueue_all);
  if (!milliseconds) return fail(milliseconds.error());
  return 1e3 * *milliseconds / static_cast<double>(calls.size());
}

double CudaBackend::bandwidth() const {
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  const auto from = allocate(kBytes);
  const auto to = allocate(kBytes);
  if (!from || !to) return 0;
  constexpr std::byte kPattern[] = {std::byte{1}, std::byte{2}, std::byte{3}};
  if (!fill(*from, kPattern)) return 0;
  const CurrentContext current(driver_, context_->handle());
  double best_ms = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 8; ++i) {
    const auto milliseconds = stream_ms(driver_, stream_.handle(), [&] {
      return driver_.check(driver_.copy_async(address(to->data()), address(from->data()), kBytes, stream_.handle()),
                           "copying");
    });
    if (milliseconds) best_ms = std::min(best_ms, *milliseconds);
  }
  return best_ms > 0 ? 2.0 * static_cast<double>(kBytes) / (1e-3 * best_ms) : 0;
}

Result<Buffer> CudaBackend::allocate(std::size_t bytes) const {
  if (auto status = context_->check_forks(); !status) return fail(status.error());
  const CurrentContext current(driver_, context_->handle());
  DevicePointer pointer = 0;
  const int code = driver_.allocate(&pointer, std::max<std::size_t>(bytes, 1));
  if (code == kOutOfMemory) {
    return fail(ErrorCode::unsupported, fmt::format("{} has no {:.1f} MiB free; give a smaller problem or batch size",
                                                    info_.name, static_cast<double>(bytes) / (1 << 20)));
  }
  if (auto status = driver_.check(code, "allocating GPU memory"); !status) return fail(status.error());
  return Buffer(std::bit_cast<void*>(pointer), bytes, [context = context_](void* data) {
    if (context->is_of_a_parent()) return;
    const CurrentContext inner(context->driver(), context->handle());
    context->driver().release(address(data));
  });
}

Status CudaBackend::fill(const Buffer& buffer, std::span<const std::byte> pattern) const {
  if (auto status = context_->check_forks(); !status) return status;
  const CurrentContext current(driver_, context_->handle());
  const std::size_t first = std::min(pattern.size(), buffer.bytes());
  if (first == 0) return {};
  const DevicePointer to = address(buffer.data());
  if (auto status = driver_.check(driver_.upload(to, pattern.data(), first), "copying to the GPU"); !status) {
    return status;
  }
  // Doubling whole patterns keeps them in step.
  for (std::size_t done = first; done < buffer.bytes();) {
    const std::size_t more = std::min(done, buffer.bytes() - done);
    if (auto status = driver_.check(driver_.copy(to + done, to, more), "copying on the GPU"); !status) return status;
    done += more;
  }
  return driver_.check(driver_.stream_synchronize(nullptr), "copying on the GPU");
}

}  // namespace

Status check_forks() {
  const auto opened = driver();
  return opened || !driver_is_lost() ? Status() : fail(opened.error());
}

int device_count() {
  const auto opened = driver();
  int count = 0;
  if (!opened || (*opened)->device_count(&count) != kSuccess) return 0;
  return count;
}

Result<DeviceInfo> describe_gpu(int index) {
  const auto opened = driver();
  if (!opened) return fail(opened.error());
  return describe(**opened, index);
}

Result<std::unique_ptr<Backend>> make_cuda_backend(int index) {
  auto info = describe_gpu(index);
  if (!info) return fail(info.error());
  const auto context = PrimaryContext::open(**driver(), index);
  if (!context) return fail(context.error());
  return std::make_unique<CudaBackend>(*context, std::move(*info));
}

}  // namespace expertile::cuda

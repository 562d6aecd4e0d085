#include "backend/cuda/cuda_backend.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <optional>

#include "backend/cuda/driver.hpp"
#include "backend/cuda/kernels.hpp"
#include "backend/cuda/pointers.hpp"
#include "backend/cuda/tensor_map.hpp"
#include "backend/cuda/tile_counters.hpp"
#include "backend/cuda/timing.hpp"
#include "kernel_shape.hpp"
#include "plan/candidates.hpp"
#include "plan/kernel_plan.hpp"
#include "problem/sizes.hpp"

namespace expertile::cuda {
namespace {

constexpr int kOldestCapability = 80;
constexpr std::size_t kCallsATiming = 8;

// A device's primary context, retained for as long as anything needs it.
class Device {
 public:
  Device(const Driver& driver, DeviceHandle handle, ContextHandle context)
      : driver_(driver), handle_(handle), context_(context) {}
  ~Device() { driver_.release_context(handle_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  [[nodiscard]] const Driver& driver() const { return driver_; }
  [[nodiscard]] ContextHandle context() const { return context_; }
  [[nodiscard]] int attribute(Attribute attribute) const {
    int value = 0;
    driver_.device_attribute(&value, static_cast<int>(attribute), handle_);
    return value;
  }
  [[nodiscard]] std::string name() const {
    std::array<char, 256> text{};
    driver_.device_name(text.data(), static_cast<int>(text.size()) - 1, handle_);
    return text.data();
  }

 private:
  const Driver& driver_;
  DeviceHandle handle_;
  ContextHandle context_;
};

DevicePointer address(const void* pointer) { return reinterpret_cast<DevicePointer>(pointer); }

DeviceInfo describe_device(const Device& device) {
  constexpr std::int64_t kTransfersAClock = 2;  // at both of its edges
  GpuInfo gpu;
  gpu.compute_capability =
      10 * device.attribute(Attribute::capability_major) + device.attribute(Attribute::capability_minor);
  gpu.multiprocessors = device.attribute(Attribute::multiprocessors);
  gpu.shared_bytes_per_block = device.attribute(Attribute::shared_bytes_a_block);
  gpu.l2_bytes = device.attribute(Attribute::l2_bytes);
  gpu.memory_bytes_per_second = kTransfersAClock * 1000 * device.attribute(Attribute::memory_clock_khz) *
                                device.attribute(Attribute::memory_bus_bits) / 8;
  DeviceInfo info{path_name(device.name()), gpu, 0, {}};
  const CurrentContext current(device.driver(), device.context());
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  if (device.driver().memory_info(&free_bytes, &total) == kSuccess) {
    info.free_memory_bytes = static_cast<std::int64_t>(free_bytes);
  }
  int version = 0;
  device.driver().driver_version(&version);
  info.versions["CUDA driver"] = fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  return info;
}

std::vector<KernelSpec> specs_of(const Problem& problem, const std::vector<TileConfig>& tiles, const CallTypes& types) {
  const bool wide = allows_wide_loads(problem, types.a);
  std::vector<KernelSpec> specs;
  specs.reserve(tiles.size());
  for (const TileConfig& tile : tiles) specs.push_back(make_spec(problem, tile, types, wide));
  return specs;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<Device> device, int index)
      : device_(std::move(device)),
        driver_(device_->driver()),
        info_(describe_device(*device_)),
        begins_early_(device_->attribute(Attribute::capability_major) >= 9),
        shelf_(driver_, device_->context(), arch_name(info_.gpu()), info_.gpu().multiprocessors),
        pointers_(driver_, device_->context(), index, info_.name) {
    info_.versions["NVRTC"] = shelf_.nvrtc_version();
    const CurrentContext current(driver_, device_->context());
    driver_.stream_create(&stream_, 1);  // not ordered with the default stream
    if (info_.gpu().compute_capability == 90) counters_ = std::make_unique<TileCounters>(driver_, stream_);
  }
  ~CudaBackend() override {
    const CurrentContext current(driver_, device_->context());
    counters_.reset();
    driver_.stream_destroy(stream_);
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  [[nodiscard]] const DeviceInfo& info() const noexcept override { return info_; }

  [[nodiscard]] std::vector<Status> prepare(const Problem& problem, const std::vector<TileConfig>& tiles,
                                            const std::vector<CallTypes>& types) const override {
    const auto added = shelf_.add(kernels_for_calls(problem, tiles, types));
    Status quantise;
    if (quantises_a(problem)) quantise = shelf_.add_quantise(storage_of(activation_type(problem.dtype)).value());
    std::vector<Status> statuses(tiles.size(), quantise);
    auto next = added.begin();
    for (std::size_t i = 0; i < types.size(); ++i) {
      const Status& narrow = next[static_cast<std::ptrdiff_t>(tiles.size())];
      for (Status& status : statuses) {
        const Status& own = *next++;
        if (status) status = own ? narrow : own;
      }
      ++next;  // behind the narrow one
    }
    return statuses;
  }

  void compile_ahead(const Problem& problem, const std::vector<TileConfig>& tiles,
                     const CallTypes& types) const override {
    shelf_.compile_ahead(specs_of(problem, tiles, types));
  }

  [[nodiscard]] Status keep_kernels(const Problem& problem, const std::vector<TileConfig>& tiles,
                                    const std::vector<CallTypes>& types,
                                    const std::filesystem::path& directory) const override {
    std::optional<Storage> quantised;
    if (quantises_a(problem)) quantised = storage_of(activation_type(problem.dtype)).value();
    return shelf_.keep(kernels_for_calls(problem, tiles, types), quantised, directory);
  }
  void use_kernels(const std::filesystem::path& directory) const override { shelf_.use(directory); }

  [[nodiscard]] Status run(const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& args) const override {
    const CurrentContext current(driver_, device_->context());
    return enqueue(problem, tile, args, static_cast<StreamHandle>(args.stream));
  }

  [[nodiscard]] std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) const noexcept override {
    return expertile::workspace_bytes(problem, rows);
  }

  [[nodiscard]] Status synchronise() const override {
    const CurrentContext current(driver_, device_->context());
    return driver_.check(driver_.stream_synchronize(nullptr), "waiting for the GPU");
  }

  [[nodiscard]] Status check_pointers(const GroupedGemmArgs& args) const override { return pointers_.check(args); }
  [[nodiscard]] Result<double> time_us(const Problem& problem, const TileConfig& tile,
                                       std::span<const GroupedGemmArgs> calls, Calls how) const override;
  [[nodiscard]] std::size_t calls_a_timing() const noexcept override { return kCallsATiming; }
  [[nodiscard]] double bandwidth() const override;
  [[nodiscard]] Result<Buffer> allocate(std::size_t bytes) const override;
  [[nodiscard]] Status fill(const Buffer& buffer, std::span<const std::byte> pattern) const override;
  [[nodiscard]] Status download(const void* from, std::span<std::byte> to) const override {
    const CurrentContext current(driver_, device_->context());
    return driver_.check(driver_.download(to.data(), address(from), to.size()), "copying from the GPU");
  }

 private:
  [[nodiscard]] TileConfig narrow_tile(const Problem& problem) const {
    return portable_tile(problem, 16 * problem.experts, info_);
  }
  // For each of the types: the tiles', and the one for calls whose rows are not aligned, which is slow whatever the
  // compiler does.
  [[nodiscard]] std::vector<WantedKernel> kernels_for_calls(const Problem& problem,
                                                            const std::vector<TileConfig>& tiles,
                                                            const std::vector<CallTypes>& types) const {
    std::vector<WantedKernel> all;
    for (const CallTypes& one : types) {
      for (const KernelSpec& spec : specs_of(problem, tiles, one)) all.push_back({spec, one != usual_types(problem)});
      all.push_back({make_spec(problem, narrow_tile(problem), one, false), true});
    }
    return all;
  }
  [[nodiscard]] Status enqueue(const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& args,
                               StreamHandle stream) const;
  struct Launch {
    FunctionHandle function = nullptr;
    int threads = 0;
    int shared_bytes = 0;
  };
  // args: the one parameter that the kernel takes.
  [[nodiscard]] Status launch(const Launch& kernel, const void* args, std::int64_t blocks, StreamHandle stream) const;
  [[nodiscard]] Status quantise(const Problem& problem, const GroupedGemmArgs& args, StreamHandle stream) const;

  std::shared_ptr<Device> device_;
  const Driver& driver_;
  DeviceInfo info_;
  bool begins_early_;  // kernels may be launched before the work ahead of them has ended: they wait for it
  mutable KernelShelf shelf_;
  PointerCheck pointers_;
  StreamHandle stream_ = nullptr;
  std::unique_ptr<TileCounters> counters_;  // where there are Hopper's kernels
};

Status CudaBackend::quantise(const Problem& problem, const GroupedGemmArgs& args, StreamHandle stream) const {
  if (auto status = check_workspace(problem, args); !status) return status;
  const FunctionHandle function = shelf_.quantise(storage_of(args.a.type).value());
  if (function == nullptr) return fail(ErrorCode::internal, "the quantising kernel was not prepared");
  QuantiseArgs in = make_quantise_args(problem, args);
  const std::int64_t items = in.rows * ceil_div(in.k, in.block_k);
  const std::int64_t blocks = std::clamp<std::int64_t>(ceil_div(items, kQuantiseThreads / 32), 1,
                                                       std::int64_t{16} * info_.gpu().multiprocessors);
  return launch({function, kQuantiseThreads, 0}, &in, blocks, stream);
}

Status CudaBackend::enqueue(const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& given,
                            StreamHandle stream) const {
  const auto groups = static_cast<std::int64_t>(given.weight_indices.size());
  if (given.a.rows == 0 || groups == 0) return {};
  if (quantises_a(problem)) {
    if (auto status = quantise(problem, given, stream); !status) return status;
  }
  const GroupedGemmArgs args = quantises_a(problem) ? quantised_call(problem, given) : given;
  const bool wide = has_wide_rows(args.a) && has_wide_rows(args.b) && allows_wide_loads(problem, given.a.type);
  const CallTypes types = types_of(given);
  const LoadedKernel* kernel = shelf_.find(make_spec(problem, tile, types, wide));
  if (kernel == nullptr) kernel = shelf_.find(make_spec(problem, narrow_tile(problem), types, false));
  if (kernel == nullptr) {
    return fail(ErrorCode::unsupported, fmt::format("there is no kernel for A in {} and C in {} with {}", name(types.a),
                                                    name(types.c), describe(tile)));
  }
  const TileConfig& used = kernel->spec.tile;
  const std::int64_t blocks = block_count(problem, used, args.a.rows, groups);
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  if (std::max(blocks, args.a.rows) > kMost) {
    return fail(ErrorCode::unsupported,
                fmt::format("{} rows make {} tiles, at most {} of each can be numbered", args.a.rows, blocks, kMost));
  }
  const KernelArgs in = make_kernel_args(problem, args);
  const Launch how{kernel->function, threads_of(kernel->spec), smem_bytes(kernel->spec)};
  if (used.kernel == KernelFamily::sm80) return launch(how, &in, blocks, stream);
  const bool rounds = kernel->spec.product == Product::tf32;
  const auto map_a = make_tensor_map(driver_, args.a, box_rows_a(kernel->spec), rounds);
  const auto map_b = make_tensor_map(driver_, args.b, box_rows_b(kernel->spec), rounds);
  const auto map_c =
      in.stores_boxes != 0 ? make_tensor_map(driver_, args.c, kBoxRowsC, false) : Result<TensorMap>(TensorMap{});
  for (const auto* map : {&map_a, &map_b, &map_c}) {
    if (!*map) return fail(map->error());
  }
  const std::int64_t staying = staying_blocks(used, blocks, kernel->blocks_at_once);
  int* taken = counts_tiles(used) && staying < blocks ? counters_->of(stream) : nullptr;
  const TiledArgs tiled{in, taken, *map_a, *map_b, *map_c};
  return launch(how, &tiled, staying, stream);
}

Status CudaBackend::launch(const Launch& kernel, const void* args, std::int64_t blocks, StreamHandle stream) const {
  constexpr int kProgrammaticStreamSerialization = 6;  // CU_LAUNCH_ATTRIBUTE_...: the kernel waits for the work ahead
  LaunchAttribute begins_early{kProgrammaticStreamSerialization, {1}};
  LaunchConfig config;
  config.blocks[0] = static_cast<unsigned>(blocks);
  config.threads[0] = static_cast<unsigned>(kernel.threads);
  config.shared_bytes = static_cast<unsigned>(kernel.shared_bytes);
  config.stream = stream;
  config.attributes = &begins_early;
  config.attribute_count = begins_early_ ? 1 : 0;
  void* parameters[] = {const_cast<void*>(args)};
  return driver_.check(driver_.launch(&config, kernel.function, parameters, nullptr), "launching a kernel");
}

Result<double> CudaBackend::time_us(const Problem& problem, const TileConfig& tile,
                                    std::span<const GroupedGemmArgs> calls, Calls how) const {
  const CurrentContext current(driver_, device_->context());
  const auto enqueue_all = [&]() -> Status {
    for (const GroupedGemmArgs& args : calls) {
      if (auto status = enqueue(problem, tile, args, stream_); !status) return status;
    }
    return {};
  };
  const auto milliseconds =
      how == Calls::in_a_graph ? graph_ms(driver_, stream_, enqueue_all) : stream_ms(driver_, stream_, enqueue_all);
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
  const CurrentContext current(driver_, device_->context());
  double best_ms = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 8; ++i) {
    const auto milliseconds = stream_ms(driver_, stream_, [&] {
      return driver_.check(driver_.copy_async(address(to->data()), address(from->data()), kBytes, stream_), "copying");
    });
    if (milliseconds) best_ms = std::min(best_ms, *milliseconds);
  }
  return best_ms > 0 ? 2.0 * static_cast<double>(kBytes) / (1e-3 * best_ms) : 0;
}

Result<Buffer> CudaBackend::allocate(std::size_t bytes) const {
  const CurrentContext current(driver_, device_->context());
  DevicePointer pointer = 0;
  const int code = driver_.allocate(&pointer, std::max<std::size_t>(bytes, 1));
  if (code == kOutOfMemory) {
    return fail(ErrorCode::unsupported, fmt::format("{} has no {:.1f} MiB free; give a smaller problem or batch size",
                                                    info_.name, static_cast<double>(bytes) / (1 << 20)));
  }
  if (auto status = driver_.check(code, "allocating GPU memory"); !status) return fail(status.error());
  return Buffer(std::bit_cast<void*>(pointer), bytes, [device = device_](void* data) {
    const CurrentContext inner(device->driver(), device->context());
    device->driver().release(address(data));
  });
}

Status CudaBackend::fill(const Buffer& buffer, std::span<const std::byte> pattern) const {
  const CurrentContext current(driver_, device_->context());
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

int device_count() {
  const auto opened = driver();
  int count = 0;
  if (!opened || (*opened)->device_count(&count) != kSuccess) return 0;
  return count;
}

Result<std::unique_ptr<Backend>> make_cuda_backend(int index) {
  const auto opened = driver();
  if (!opened) return fail(opened.error());
  const Driver& d = **opened;
  const int count = device_count();
  if (index >= count) {
    return fail(ErrorCode::not_found,
                count == 0 ? fmt::format("device 'cuda:{}' does not exist: the driver shows no GPU", index)
                           : fmt::format("device 'cuda:{}' does not exist; give 0 to {}", index, count - 1));
  }
  DeviceHandle handle = 0;
  ContextHandle context = nullptr;
  if (auto status = d.check(d.device_get(&handle, index), "finding the GPU"); !status) return fail(status.error());
  if (auto status = d.check(d.retain_context(&context, handle), "opening the GPU"); !status) {
    return fail(status.error());
  }
  auto device = std::make_shared<Device>(d, handle, context);
  const int capability =
      10 * device->attribute(Attribute::capability_major) + device->attribute(Attribute::capability_minor);
  if (capability < kOldestCapability) {
    return fail(ErrorCode::unsupported, fmt::format("{} has compute capability {}.{}; 8.0 or newer is needed",
                                                    device->name(), capability / 10, capability % 10));
  }
  return std::make_unique<CudaBackend>(std::move(device), index);
}

}  // namespace expertile::cuda

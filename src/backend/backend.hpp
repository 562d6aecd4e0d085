#pragma once
// What every backend can do, as five interfaces. The tuner, the API and the command line know backends by this header
// alone. All of it may be called from several threads at once.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "device/device_info.hpp"
#include "expertile/grouped_gemm.hpp"
#include "expertile/moe_layer.hpp"
#include "problem/sizes.hpp"

namespace expertile {

// Memory where the device computes; freed by its owner.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::size_t bytes, std::function<void(void*)> release)
      : data_(data, std::move(release)), bytes_(bytes) {}
  [[nodiscard]] void* data() const { return data_.get(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<void, std::function<void(void*)>> data_{nullptr, [](void*) {}};
  std::size_t bytes_ = 0;
};

class Memory {
 public:
  virtual ~Memory() = default;
  [[nodiscard]] virtual Result<Buffer> allocate(std::size_t bytes) const = 0;
  // Repeats `pattern` over the whole buffer.
  [[nodiscard]] virtual Status fill(const Buffer& buffer, std::span<const std::byte> pattern) const = 0;
  [[nodiscard]] virtual Status download(const void* from, std::span<std::byte> to) const = 0;
};

// A tile bound to a problem on one device, with everything that its calls need and that does not depend on their
// pointers: a backend derives what it keeps.
class CallPlan {
 public:
  CallPlan(const Problem& problem, const TileConfig& tile) : problem_(problem), tile_(tile) {}
  virtual ~CallPlan() = default;
  CallPlan(const CallPlan&) = delete;
  CallPlan& operator=(const CallPlan&) = delete;
  [[nodiscard]] const Problem& problem() const noexcept { return problem_; }
  [[nodiscard]] const TileConfig& tile() const noexcept { return tile_; }

 private:
  Problem problem_;
  TileConfig tile_;
};
using SharedPlan = std::shared_ptr<const CallPlan>;

// Kernels that spill registers, or whose products the compiler has put one after the other.
enum class SlowKernels { refused, taken };

class Executor {
 public:
  virtual ~Executor() = default;
  // Makes what calls with these tiles need (a GPU's kernels are compiled and loaded). A plan a tile, or the reason why
  // it cannot run. types: of the calls to come, those that are tuned first, all in one layout. slow: whether it is a
  // reason that a kernel would be slow; for types that nobody tunes a slow one is better than none, always.
  [[nodiscard]] virtual std::vector<Result<SharedPlan>> plan(const Problem& problem,
                                                             const std::vector<TileConfig>& tiles,
                                                             const std::vector<CallTypes>& types,
                                                             SlowKernels slow) const = 0;
  // Runs the operation by a plan that this backend made. The arguments' shapes were validated before. On a GPU it
  // returns when the work is enqueued on args.stream.
  [[nodiscard]] virtual Status run(const CallPlan& plan, const GroupedGemmArgs& args) const = 0;
  // What a call's workspace must hold.
  [[nodiscard]] virtual std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) const noexcept = 0;
  // Pointers and stream of a call belong to this device. A mistake is one line that names the argument.
  [[nodiscard]] virtual Status check_pointers(const GroupedGemmArgs& args) const = 0;
  // Waits for everything that run enqueued.
  [[nodiscard]] virtual Status synchronise() const = 0;
};

// What lies between a layer's products, bound to one device: a backend derives what it keeps.
class LayerPlan {
 public:
  explicit LayerPlan(const MoeProblem& problem) : problem_(problem) {}
  virtual ~LayerPlan() = default;
  LayerPlan(const LayerPlan&) = delete;
  LayerPlan& operator=(const LayerPlan&) = delete;
  [[nodiscard]] const MoeProblem& problem() const noexcept { return problem_; }

 private:
  MoeProblem problem_;
};
using SharedLayerPlan = std::shared_ptr<const LayerPlan>;

// The plans of one call's products.
struct ProductPlans {
  const CallPlan* gate_up = nullptr;
  const CallPlan* down = nullptr;
};

class LayerExecutor {
 public:
  virtual ~LayerExecutor() = default;
  [[nodiscard]] virtual Result<SharedLayerPlan> plan_layer(const MoeProblem& problem) const = 0;
  // Runs the chain of a validated call, with products by plans that this backend made; on a GPU, enqueues it.
  [[nodiscard]] virtual Status run_layer(const LayerPlan& plan, const ProductPlans& products,
                                         const MoeLayerArgs& args) const = 0;
  // As Executor's.
  [[nodiscard]] virtual Status check_pointers(const MoeLayerArgs& args) const = 0;
};

// Compiled kernels; a CPU has none.
class KernelStore {
 public:
  virtual ~KernelStore() = default;
  // Compiles what plan will ask for, to be found quickly then. Beside any other call.
  virtual void compile_ahead(const Problem& /*problem*/, const std::vector<TileConfig>& /*tiles*/,
                             const CallTypes& /*types*/) const {}
  // Stores those that calls with these tiles need in a directory.
  [[nodiscard]] virtual Status keep_kernels(const Problem& /*problem*/, const std::vector<TileConfig>& /*tiles*/,
                                            const std::vector<CallTypes>& /*types*/,
                                            const std::filesystem::path& /*directory*/) const {
    return {};
  }
  // Looks for kernels there before any is compiled. They are code: the directory must be as trusted as a program's.
  virtual void use_kernels(const std::filesystem::path& /*directory*/) const {}
  // How many are loaded.
  [[nodiscard]] virtual std::size_t loaded_kernels() const noexcept { return 0; }
};

// How calls that are timed reach a GPU: as one graph, or one by one as a program without graphs makes them.
enum class Calls { in_a_graph, one_by_one };

class Timer {
 public:
  virtual ~Timer() = default;
  // Microseconds a call, of calls made one after the other.
  [[nodiscard]] virtual Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls,
                                               Calls how) const = 0;
  // How many calls one timing should hold, so that the clock's grain and the launch do not show.
  [[nodiscard]] virtual std::size_t calls_a_timing() const noexcept = 0;
  // Bytes a second that memory gives to a long streaming read (a GPU: to a copy, reading and writing).
  [[nodiscard]] virtual double bandwidth() const = 0;
};

class Backend : public Memory, public Executor, public LayerExecutor, public KernelStore, public Timer {
 public:
  using Executor::check_pointers;
  using LayerExecutor::check_pointers;
  [[nodiscard]] virtual const DeviceInfo& info() const noexcept = 0;
};

// What a device is, for who only plans: a GPU is not opened, and its free memory not known (0). device, threads: as
// open_backend takes them.
[[nodiscard]] Result<DeviceInfo> describe_device(std::string_view device, int threads = 0);

// The device's backend: opened at the first call for it, and then the same one for all who ask, to the end of the
// process. device: "auto", "cpu", "cuda" or "cuda:I". threads: 0 for all. isa: of a CPU, none for the best that this
// machine has (tests walk them all).
[[nodiscard]] Result<std::shared_ptr<const Backend>> open_backend(std::string_view device, int threads = 0,
                                                                  std::optional<CpuIsa> isa = {});

}  // namespace expertile

#pragma once
// What every backend can do. The tuner, the API and the command line know backends by this header alone.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/device_info.hpp"
#include "expertile/grouped_gemm.hpp"
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

// How calls that are timed reach a GPU: as one graph, or one by one as a program without graphs makes them.
enum class Calls { in_a_graph, one_by_one };

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual const DeviceInfo& info() const noexcept = 0;

  // Makes what calls with these tiles need (a GPU's kernels are compiled and loaded). One status a tile: an error is
  // the reason why it cannot run. types: of the calls to come. Where a kernel would be slow that is a reason, too, but
  // for types that nobody tunes a slow one is better than none.
  [[nodiscard]] virtual std::vector<Status> prepare(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                    const std::vector<CallTypes>& types) const = 0;
  // Compiles what prepare will ask for, to be found quickly then. Beside any other call, from another thread too.
  virtual void compile_ahead(const Problem& /*problem*/, const std::vector<TileConfig>& /*tiles*/,
                             const CallTypes& /*types*/) const {}
  // Compiled kernels in a directory: keep stores those that calls with these tiles need, use looks for kernels there
  // before any is compiled. They are code: the directory must be as trusted as a program's. A CPU has none.
  [[nodiscard]] virtual Status keep_kernels(const Problem& problem, const std::vector<TileConfig>& tiles,
                                            const std::vector<CallTypes>& types,
                                            const std::filesystem::path& directory) const = 0;
  virtual void use_kernels(const std::filesystem::path& directory) const = 0;
  // Runs the operation with a tile that was prepared. The arguments were validated before. On a GPU it returns when
  // the work is enqueued on args.stream.
  [[nodiscard]] virtual Status run(const Problem& problem, const TileConfig& tile,
                                   const GroupedGemmArgs& args) const = 0;
  // What a call's workspace must hold.
  [[nodiscard]] virtual std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) const noexcept = 0;
  // Waits for everything that run enqueued.
  [[nodiscard]] virtual Status synchronise() const = 0;
  // Pointers and stream of a call belong to this device. A mistake is one line that names the argument.
  [[nodiscard]] virtual Status check_pointers(const GroupedGemmArgs& args) const = 0;

  // Microseconds a call, of calls made one after the other.
  [[nodiscard]] virtual Result<double> time_us(const Problem& problem, const TileConfig& tile,
                                               std::span<const GroupedGemmArgs> calls, Calls how) const = 0;
  // How many calls one timing should hold, so that the clock's grain and the launch do not show.
  [[nodiscard]] virtual std::size_t calls_a_timing() const noexcept = 0;
  // Bytes a second that memory gives to a long streaming read (a GPU: to a copy, reading and writing).
  [[nodiscard]] virtual double bandwidth() const = 0;

  [[nodiscard]] virtual Result<Buffer> allocate(std::size_t bytes) const = 0;
  // Repeats `pattern` over the whole buffer.
  [[nodiscard]] virtual Status fill(const Buffer& buffer, std::span<const std::byte> pattern) const = 0;
  [[nodiscard]] virtual Status download(const void* from, std::span<std::byte> to) const = 0;
};

// device: "auto", "cpu", "cuda" or "cuda:I". threads: 0 for all. isa: of a CPU, none for the best that this machine has
// (tests walk them all).
[[nodiscard]] Result<std::unique_ptr<Backend>> make_backend(std::string_view device, int threads,
                                                            std::optional<CpuIsa> isa = {});

}  // namespace expertile

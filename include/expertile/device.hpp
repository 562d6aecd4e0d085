#pragma once
// A device: what it is, in numbers, and that it is open.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "expertile/error.hpp"

namespace expertile {

// Instruction sets that the CPU's kernels are made for, the poorest first.
enum class CpuIsa { portable, avx2, avx512, avx512_bf16 };
[[nodiscard]] std::string_view name(CpuIsa isa) noexcept;  // "avx512_bf16"

struct CpuInfo {
  CpuIsa isa = CpuIsa::portable;
  int threads = 1;                        // that an operation runs on
  std::int64_t l1_bytes_core = 32 << 10;  // data
  std::int64_t l2_bytes_core = 1 << 20;
  std::int64_t l3_bytes = 0;  // of all cores; 0 where unknown or none
};

struct GpuInfo {
  int compute_capability = 0;  // 10 * major + minor: 90
  int multiprocessors = 1;
  std::int64_t shared_bytes_per_block = 0;  // that a block may ask for
  std::int64_t l2_bytes = 0;
  std::int64_t memory_bytes_per_second = 0;  // by the memory's clock and width; 0 where unknown
};
// What kernels are compiled for: "sm_90a".
[[nodiscard]] std::string arch_name(const GpuInfo& gpu);

struct DeviceInfo {
  std::string name;  // as it stands in paths: letters, digits, '_', '-' and '.'
  std::variant<CpuInfo, GpuInfo> numbers{};
  std::int64_t free_memory_bytes = 0;             // for tensors, when the device was opened; 0 where unknown
  std::map<std::string, std::string> versions{};  // of drivers and compilers that take part

  [[nodiscard]] bool is_gpu() const noexcept { return std::holds_alternative<GpuInfo>(numbers); }
  // Only of a device of that kind.
  [[nodiscard]] const CpuInfo& cpu() const { return std::get<CpuInfo>(numbers); }
  [[nodiscard]] const GpuInfo& gpu() const { return std::get<GpuInfo>(numbers); }
};
[[nodiscard]] std::string_view kind_name(const DeviceInfo& device) noexcept;  // "cpu" or "cuda"
// What kernels are made for on this device: "avx512_bf16", "sm_90a".
[[nodiscard]] std::string isa_name(const DeviceInfo& device);

class Backend;

// An open device. The first who asks for it, here or by GroupedGemm::prepare, opens it, and all share it: a GPU's
// primary context (the one that the CUDA runtime and every framework use), its loaded kernels and its counters.
//
// It stays open until the process ends, and nothing that was loaded is unloaded before. So devices and operations may
// be destroyed in any order, while calls that they enqueued still run and while captured graphs hold such calls: a
// graph may be replayed when the operation is gone. What a call was given (tensors, scales, routing, workspace) belongs
// to the caller, and must live until the call is complete, or for as long as the graph is replayed. cudaDeviceReset
// ends all of this: nothing may be called on that device afterwards.
//
// Copies are the same device. Any thread may use any of this at any time. In a child of fork() a CPU serves on; a GPU
// that was opened before is an error there, in every call.
class Device {
 public:
  // name: "auto" (a GPU when there is one), "cpu", "cuda" or "cuda:I". threads: of a CPU, 0 for all that OpenMP would
  // use; each number is a device of its own.
  [[nodiscard]] static Result<Device> open(std::string_view name = "auto", int threads = 0);
  [[nodiscard]] const DeviceInfo& info() const noexcept;
  // Kernels that are loaded, of all operations; 0 on a CPU.
  [[nodiscard]] std::size_t loaded_kernels() const noexcept;
  // Returns when everything that was enqueued on a GPU, by whomever in this process, is complete. Not while capturing.
  [[nodiscard]] Status synchronise() const;

 private:
  explicit Device(std::shared_ptr<const Backend> backend);
  std::shared_ptr<const Backend> backend_;
};

}  // namespace expertile

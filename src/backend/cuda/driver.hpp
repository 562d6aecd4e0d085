#pragma once
// The CUDA driver, opened at run time: one binary runs with and without a GPU, and builds without a toolkit. The few
// functions that are used are declared here, with the driver's documented types; their ABI is stable across versions.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "expertile/error.hpp"

namespace expertile::cuda {

using DevicePointer = unsigned long long;
using DeviceHandle = int;
using ContextHandle = struct ContextTag*;
using ModuleHandle = struct ModuleTag*;
using FunctionHandle = struct FunctionTag*;
using StreamHandle = struct StreamTag*;
using EventHandle = struct EventTag*;
using GraphHandle = struct GraphTag*;
using GraphExecHandle = struct GraphExecTag*;

inline constexpr int kSuccess = 0;
inline constexpr int kOutOfMemory = 2;

// CUdevice_attribute
enum class Attribute : int {
  multiprocessors = 16,
  memory_clock_khz = 36,
  memory_bus_bits = 37,
  l2_bytes = 38,
  capability_major = 75,
  capability_minor = 76,
  shared_bytes_a_block = 97,  // with opting in
};

// CUlaunchAttribute: the driver's union of values is 64 bytes.
struct LaunchAttribute {
  int id = 0;
  alignas(8) int value[16] = {};
};
// CUlaunchConfig
struct LaunchConfig {
  unsigned blocks[3] = {1, 1, 1};
  unsigned threads[3] = {1, 1, 1};
  unsigned shared_bytes = 0;
  StreamHandle stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfig) == 56, "as the driver lays them out");

struct Driver {
  int (*init)(unsigned) = nullptr;
  int (*driver_version)(int*) = nullptr;
  int (*error_name)(int, const char**) = nullptr;
  int (*device_count)(int*) = nullptr;
  int (*device_get)(DeviceHandle*, int) = nullptr;
  int (*device_name)(char*, int, DeviceHandle) = nullptr;
  int (*device_attribute)(int*, int, DeviceHandle) = nullptr;
  int (*retain_context)(ContextHandle*, DeviceHandle) = nullptr;
  int (*release_context)(DeviceHandle) = nullptr;
  int (*current_context)(ContextHandle*) = nullptr;
  int (*push_context)(ContextHandle) = nullptr;
  int (*pop_context)(ContextHandle*) = nullptr;
  int (*memory_info)(std::size_t*, std::size_t*) = nullptr;
  int (*allocate)(DevicePointer*, std::size_t) = nullptr;
  int (*release)(DevicePointer) = nullptr;
  int (*upload)(DevicePointer, const void*, std::size_t) = nullptr;
  int (*download)(void*, DevicePointer, std::size_t) = nullptr;
  int (*copy)(DevicePointer, DevicePointer, std::size_t) = nullptr;
  int (*copy_async)(DevicePointer, DevicePointer, std::size_t, StreamHandle) = nullptr;
  int (*pointer_attribute)(void*, int, DevicePointer) = nullptr;
  int (*load_module)(ModuleHandle*, const void*) = nullptr;
  int (*unload_module)(ModuleHandle) = nullptr;
  int (*module_function)(FunctionHandle*, ModuleHandle, const char*) = nullptr;
  int (*set_function_attribute)(FunctionHandle, int, int) = nullptr;
  int (*blocks_a_multiprocessor)(int*, FunctionHandle, int, std::size_t) = nullptr;
  int (*clusters_at_once)(int*, FunctionHandle, const LaunchConfig*) = nullptr;
  int (*encode_tiled)(void*, int, std::uint32_t, void*, const std::uint64_t*, const std::uint64_t*,
                      const std::uint32_t*, const std::uint32_t*, int, int, int, int) = nullptr;
  int (*launch)(const LaunchConfig*, FunctionHandle, void**, void**) = nullptr;
  int (*stream_create)(StreamHandle*, unsigned) = nullptr;
  int (*stream_destroy)(StreamHandle) = nullptr;
  int (*stream_synchronize)(StreamHandle) = nullptr;
  int (*stream_context)(StreamHandle, ContextHandle*) = nullptr;
  int (*stream_id)(StreamHandle, std::uint64_t*) = nullptr;
  // Whether a stream is being captured, and the capture's number; the others may be null.
  int (*capture_info)(StreamHandle, int*, std::uint64_t*, GraphHandle*, const void**, std::size_t*) = nullptr;
  int (*begin_capture)(StreamHandle, int) = nullptr;
  int (*end_capture)(StreamHandle, GraphHandle*) = nullptr;
  int (*instantiate_graph)(GraphExecHandle*, GraphHandle, unsigned long long) = nullptr;
  int (*launch_graph)(GraphExecHandle, StreamHandle) = nullptr;
  int (*destroy_graph_exec)(GraphExecHandle) = nullptr;
  int (*destroy_graph)(GraphHandle) = nullptr;
  int (*event_create)(EventHandle*, unsigned) = nullptr;
  int (*event_record)(EventHandle, StreamHandle) = nullptr;
  int (*event_synchronize)(EventHandle) = nullptr;
  int (*event_milliseconds)(float*, EventHandle, EventHandle) = nullptr;
  int (*event_destroy)(EventHandle) = nullptr;

  // Success, or one line: what was done, and the driver's name for what went wrong.
  [[nodiscard]] Status check(int code, const char* doing) const;
};

// The initialised driver; opened once a process. An error says what is missing: the library, a function, or a device;
// or that the process was forked from one that had started it.
[[nodiscard]] Result<const Driver*> driver();
// Whether that last one is why there is none.
[[nodiscard]] bool driver_is_lost();

// Makes a context current for a scope, and gives back what was current before. Costs little where it is current.
class CurrentContext {
 public:
  CurrentContext(const Driver& driver, ContextHandle context) : driver_(driver) {
    ContextHandle current = nullptr;
    is_pushed_ = driver_.current_context(&current) != kSuccess || current != context;
    if (is_pushed_) driver_.push_context(context);
  }
  ~CurrentContext() {
    ContextHandle ignored = nullptr;
    if (is_pushed_) driver_.pop_context(&ignored);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  const Driver& driver_;
  bool is_pushed_ = false;
};

}  // namespace expertile::cuda

#include "backend/cuda/driver.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "process/fork.hpp"

namespace expertile::cuda {
namespace {

constexpr int kOldestDriver = 12000;  // CUDA 12.0
constexpr int kNotInitialised = 3;    // what starting it gives in a child of a process where somebody has

// Where the driver was started, or is being started: forks() there, and one more. 0: nowhere. Of the process and its
// children alike, so it lies in none of them alone.
std::atomic<unsigned> started_after{0};

struct OpenedDriver {
  Result<Driver> driver;
  bool is_lost = false;  // to a fork
};

struct Symbol {
  const char* name;
  void** slot;
};

template <class Function>
Symbol symbol(const char* name, Function& slot) {
  return {name, reinterpret_cast<void**>(&slot)};
}

Status load_symbols(void* library, Driver& d) {
  const Symbol symbols[] = {symbol("cuInit", d.init),
                            symbol("cuDriverGetVersion", d.driver_version),
                            symbol("cuGetErrorName", d.error_name),
                            symbol("cuDeviceGetCount", d.device_count),
                            symbol("cuDeviceGet", d.device_get),
                            symbol("cuDeviceGetName", d.device_name),
                            symbol("cuDeviceGetAttribute", d.device_attribute),
                            symbol("cuDevicePrimaryCtxRetain", d.retain_context),
                            symbol("cuDevicePrimaryCtxRelease_v2", d.release_context),
                            symbol("cuCtxGetCurrent", d.current_context),
                            symbol("cuCtxPushCurrent_v2", d.push_context),
                            symbol("cuCtxPopCurrent_v2", d.pop_context),
                            symbol("cuMemGetInfo_v2", d.memory_info),
                            symbol("cuMemAlloc_v2", d.allocate),
                            symbol("cuMemFree_v2", d.release),
                            symbol("cuMemcpyHtoD_v2", d.upload),
                            symbol("cuMemcpyDtoH_v2", d.download),
                            symbol("cuMemcpyDtoD_v2", d.copy),
                            symbol("cuMemcpyDtoDAsync_v2", d.copy_async),
                            symbol("cuPointerGetAttribute", d.pointer_attribute),
                            symbol("cuModuleLoadData", d.load_module),
                            symbol("cuModuleUnload", d.unload_module),
                            symbol("cuModuleGetFunction", d.module_function),
                            symbol("cuFuncSetAttribute", d.set_function_attribute),
                            symbol("cuOccupancyMaxActiveBlocksPerMultiprocessor", d.blocks_a_multiprocessor),
                            symbol("cuOccupancyMaxActiveClusters", d.clusters_at_once),
                            symbol("cuTensorMapEncodeTiled", d.encode_tiled),
                            symbol("cuLaunchKernelEx", d.launch),
                            symbol("cuStreamCreate", d.stream_create),
                            symbol("cuStreamDestroy_v2", d.stream_destroy),
                            symbol("cuStreamSynchronize", d.stream_synchronize),
                            symbol("cuStreamGetCtx", d.stream_context),
                            symbol("cuStreamGetId", d.stream_id),
                            symbol("cuStreamGetCaptureInfo_v2", d.capture_info),
                            symbol("cuStreamBeginCapture_v2", d.begin_capture),
                            symbol("cuStreamEndCapture", d.end_capture),
                            symbol("cuGraphInstantiateWithFlags", d.instantiate_graph),
                            symbol("cuGraphLaunch", d.launch_graph),
                            symbol("cuGraphExecDestroy", d.destroy_graph_exec),
                            symbol("cuGraphDestroy", d.destroy_graph),
                            symbol("cuEventCreate", d.event_create),
                            symbol("cuEventRecord", d.event_record),
                            symbol("cuEventSynchronize", d.event_synchronize),
                            symbol("cuEventElapsedTime", d.event_milliseconds),
                            symbol("cuEventDestroy_v2", d.event_destroy)};
  for (const Symbol& one : symbols) {
    *one.slot = dlsym(library, one.name);
    if (*one.slot != nullptr) continue;
    return fail(ErrorCode::unsupported,
                fmt::format("the CUDA driver lacks {}; install the driver of CUDA 12.0 or newer", one.name));
  }
  return {};
}

OpenedDriver lost_to_a_fork() {
  return {
      fail(ErrorCode::unsupported,
           "the CUDA driver was started before this process was forked; open devices after it, or start the process "
           "with spawn"),
      true};
}

// Its version is one that serves.
Status check_version(const Driver& d) {
  int version = 0;
  if (auto status = d.check(d.driver_version(&version), "asking for the driver's version"); !status) return status;
  if (version >= kOldestDriver) return {};
  return fail(ErrorCode::unsupported, fmt::format("the CUDA driver is of CUDA {}.{}; install one of 12.0 or newer",
                                                  version / 1000, version % 1000 / 10));
}

OpenedDriver open_driver() {
  const unsigned here = forks() + 1;
  if (const unsigned there = started_after; there != 0 && there != here) return lost_to_a_fork();
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // stays open: its threads outlive any owner
  if (library == nullptr) {
    return {fail(ErrorCode::unsupported, "no CUDA driver: libcuda.so.1 cannot be opened; install NVIDIA's driver")};
  }
  Driver d;
  if (auto status = load_symbols(library, d); !status) return {fail(status.error())};
  started_after = here;
  const int code = d.init(0);
  if (code != kSuccess) started_after = 0;
  if (code == kNotInitialised) return lost_to_a_fork();
  if (auto status = d.check(code, "starting the CUDA driver"); !status) return {fail(status.error())};
  if (auto status = check_version(d); !status) return {fail(status.error())};
  return {d};
}

const OpenedDriver& opened_driver() {
  static constinit PerProcess<MadeOnce<OpenedDriver>> opened;
  return opened.get().get(open_driver);
}

}  // namespace

Status Driver::check(int code, const char* doing) const {
  if (code == kSuccess) return {};
  const char* text = nullptr;
  if (error_name == nullptr || error_name(code, &text) != kSuccess || text == nullptr) text = "unknown error";
  const bool users = code == kOutOfMemory || code == 100 || code == 101;  // no device, no such device
  return fail(users ? ErrorCode::unsupported : ErrorCode::internal,
              fmt::format("{} failed: {} ({})", doing, text, code));
}

Result<const Driver*> driver() {
  const OpenedDriver& opened = opened_driver();
  if (!opened.driver) return fail(opened.driver.error());
  return &*opened.driver;
}

bool driver_is_lost() { return opened_driver().is_lost; }

}  // namespace expertile::cuda

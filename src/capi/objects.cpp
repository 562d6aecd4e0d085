#include "capi/objects.hpp"

#include <pthread.h>

namespace expertile::capi {
namespace {

constexpr const char* kMakesProblems = "expertile_problem_create";
constexpr const char* kMakesDevices = "expertile_device_open";
constexpr const char* kMakesOperations = "expertile_prepare";
constexpr const char* kMakesLayers = "expertile_layer_prepare";

}  // namespace

HandleTable<Problem, 1>& problems() {
  static auto& table = *new HandleTable<Problem, 1>;
  return table;
}

HandleTable<std::shared_ptr<const OpenDevice>, 2>& devices() {
  static auto& table = *new HandleTable<std::shared_ptr<const OpenDevice>, 2>;
  return table;
}

HandleTable<GroupedGemm, 3>& operations() {
  static auto& table = *new HandleTable<GroupedGemm, 3>;
  return table;
}

HandleTable<MoeLayer, 4>& layers() {
  static auto& table = *new HandleTable<MoeLayer, 4>;
  return table;
}

namespace {

// A child of fork() has one thread, and its parent's handles: no other thread may be changing them at that moment, or
// hold a lock that the child would wait for. Nothing else is done under these locks.
void before_fork() {
  problems().mutex().lock();
  devices().mutex().lock();
  operations().mutex().lock();
  layers().mutex().lock();
}

void after_fork() {
  layers().mutex().unlock();
  operations().mutex().unlock();
  devices().mutex().unlock();
  problems().mutex().unlock();
}

// When the library is loaded: a fork at the time of its first use would find that use half done.
[[maybe_unused]] const int kRegistered = pthread_atfork(before_fork, after_fork, after_fork);

}  // namespace

Error no_handle(HandleBits handle, const char* what, const char* maker) {
  if (handle == 0) return {ErrorCode::invalid_argument, fmt::format("{} is null, {} makes one", what, maker)};
  return {ErrorCode::invalid_argument,
          fmt::format("{} {:#x} is no {}: it was destroyed, or {} did not make it", what, handle, what, maker)};
}

Result<const Problem*> find(const expertile_problem* handle) {
  if (const Problem* found = problems().find(bits_of(handle)); found != nullptr) return found;
  return fail(no_handle(bits_of(handle), "problem", kMakesProblems));
}

Result<const OpenDevice*> find(const expertile_device* handle) {
  if (const auto* found = devices().find(bits_of(handle)); found != nullptr) return found->get();
  return fail(no_handle(bits_of(handle), "device", kMakesDevices));
}

Result<const GroupedGemm*> find(const expertile_operation* handle) {
  if (const GroupedGemm* found = operations().find(bits_of(handle)); found != nullptr) return found;
  return fail(no_handle(bits_of(handle), "operation", kMakesOperations));
}

Result<const MoeLayer*> find(const expertile_layer* handle) {
  if (const MoeLayer* found = layers().find(bits_of(handle)); found != nullptr) return found;
  return fail(no_handle(bits_of(handle), "layer", kMakesLayers));
}

}  // namespace expertile::capi

extern "C" {

expertile_status expertile_problem_destroy(expertile_problem* problem) {
  using namespace expertile::capi;
  return remove_handle(problems(), problem, "problem", kMakesProblems);
}

expertile_status expertile_device_destroy(expertile_device* device) {
  using namespace expertile::capi;
  return remove_handle(devices(), device, "device", kMakesDevices);
}

expertile_status expertile_operation_destroy(expertile_operation* operation) {
  using namespace expertile::capi;
  return remove_handle(operations(), operation, "operation", kMakesOperations);
}

expertile_status expertile_layer_destroy(expertile_layer* layer) {
  using namespace expertile::capi;
  return remove_handle(layers(), layer, "layer", kMakesLayers);
}

}  // extern "C"

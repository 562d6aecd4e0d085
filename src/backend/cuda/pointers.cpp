#include "backend/cuda/pointers.hpp"

#include <fmt/format.h>

#include "problem/sizes.hpp"

namespace expertile::cuda {
namespace {

DevicePointer address(const void* pointer) { return reinterpret_cast<DevicePointer>(pointer); }

}  // namespace

// Asking the driver about a pointer costs a fraction of a microsecond; what it said of a page of 2 MiB, its unit of
// device addresses, is remembered.
Status PointerCheck::check_place(const char* argument, const void* pointer) const {
  constexpr int kMemoryType = 2;     // CU_POINTER_ATTRIBUTE_MEMORY_TYPE
  constexpr int kDeviceOrdinal = 9;  // CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
  constexpr unsigned kHost = 1;
  const DevicePointer page = address(pointer) >> 21;
  std::atomic<DevicePointer>& known = known_pages_[page % known_pages_.size()];
  if (known.load(std::memory_order_relaxed) == page) return {};
  const CurrentContext current(driver_, context_);
  unsigned type = 0;
  if (driver_.pointer_attribute(&type, kMemoryType, address(pointer)) != kSuccess || type == kHost) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} at {} is not in the memory of {}; give a device pointer", argument, pointer, name_));
  }
  int owner = index_;
  if (driver_.pointer_attribute(&owner, kDeviceOrdinal, address(pointer)) == kSuccess && owner != index_) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} at {} is in the memory of GPU {}, the operation was prepared for GPU {}", argument,
                            pointer, owner, index_));
  }
  known.store(page, std::memory_order_relaxed);
  return {};
}

Status PointerCheck::check(const GroupedGemmArgs& args) const {
  struct Pointer {
    const char* name;
    const void* at;
    std::size_t alignment;
  };
  // An array that is not given may have an address, as that of a vector that was emptied.
  const auto of = [](const auto& array) -> const void* { return array.empty() ? nullptr : array.data(); };
  const Pointer pointers[] = {{"A", args.a.data, size_of(args.a.type)},
                              {"B", args.b.data, size_of(args.b.type)},
                              {"C", args.c.data, size_of(args.c.type)},
                              {"seg_indptr", of(args.seg_indptr), sizeof(std::int64_t)},
                              {"seg_indptr_32", of(args.seg_indptr_32), sizeof(std::int32_t)},
                              {"masked_m", of(args.masked_m), sizeof(std::int32_t)},
                              {"weight_indices", of(args.weight_indices), sizeof(std::int64_t)},
                              {"scale_a", args.scale_a.data(), sizeof(float)},
                              {"scale_b", args.scale_b.data(), sizeof(float)},
                              {"workspace", args.workspace.data(), 1}};
  for (const Pointer& pointer : pointers) {
    if (pointer.at == nullptr) continue;
    if (address(pointer.at) % pointer.alignment != 0) {
      return fail(ErrorCode::invalid_argument, fmt::format("{} at {} is not aligned to its elements' {} bytes",
                                                           pointer.name, pointer.at, pointer.alignment));
    }
    if (auto status = check_place(pointer.name, pointer.at); !status) return status;
  }
  if (args.stream == nullptr) return {};
  const CurrentContext current(driver_, context_);
  ContextHandle context = nullptr;
  if (driver_.stream_context(static_cast<StreamHandle>(args.stream), &context) != kSuccess || context != context_) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("stream {} is not one of {}'s primary context", args.stream, name_));
  }
  return {};
}

}  // namespace expertile::cuda

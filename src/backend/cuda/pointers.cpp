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

Status PointerCheck::check_all(std::span<const Pointer> pointers) const {
  for (const Pointer& pointer : pointers) {
    if (pointer.at == nullptr) continue;
    if (address(pointer.at) % pointer.alignment != 0) {
      return fail(ErrorCode::invalid_argument, fmt::format("{} at {} is not aligned to its elements' {} bytes",
                                                           pointer.name, pointer.at, pointer.alignment));
    }
    if (auto status = check_place(pointer.name, pointer.at); !status) return status;
  }
  return {};
}

Status PointerCheck::check_stream(void* stream) const {
  if (stream == nullptr) return {};
  const CurrentContext current(driver_, context_);
  ContextHandle context = nullptr;
  if (driver_.stream_context(static_cast<StreamHandle>(stream), &context) != kSuccess || context != context_) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("stream {} is not one of {}'s primary context", stream, name_));
  }
  return {};
}

Status PointerCheck::check(const GroupedGemmArgs& args) const {
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
  if (auto status = check_all(pointers); !status) return status;
  return check_stream(args.stream);
}

Status PointerCheck::check(const MoeLayerArgs& args) const {
  const auto matrix = [](const char* what, const ConstMatrixView& view) {
    return Pointer{what, view.data, size_of(view.type)};
  };
  const Pointer pointers[] = {matrix("hidden_states", args.hidden_states),
                              matrix("w13", args.w13),
                              matrix("w2", args.w2),
                              {"topk_ids", args.topk_ids.data, args.topk_ids.is_64_bits ? 8U : 4U},
                              matrix("topk_weights", args.topk_weights),
                              matrix("out", args.out),
                              {"scale_13", args.scale_13.data(), sizeof(float)},
                              {"scale_2", args.scale_2.data(), sizeof(float)},
                              {"input_scale_13", args.input_scale_13.data(), sizeof(float)},
                              {"input_scale_2", args.input_scale_2.data(), sizeof(float)},
                              matrix("bias_13", args.bias_13),
                              matrix("bias_2", args.bias_2),
                              {"expert_map", args.expert_map.data(), sizeof(std::int32_t)},
                              matrix("shared_output", args.shared_output),
                              {"workspace", args.workspace.data(), 1}};
  if (auto status = check_all(pointers); !status) return status;
  return check_stream(args.stream);
}

}  // namespace expertile::cuda

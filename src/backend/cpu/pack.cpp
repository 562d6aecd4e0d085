#include "backend/cpu/pack.hpp"

#include <algorithm>
#include <cstring>

namespace expertile::cpu {
namespace {

// Null where there is none.
ToFloat to_float_of(const KernelSet& kernels, ElementType type) {
  switch (type) {
    case ElementType::float16:
      return kernels.float_from_float16;
    case ElementType::bfloat16:
      return kernels.float_from_bfloat16;
    case ElementType::float32:
      return kernels.float_from_float32;
    case ElementType::float8_e4m3:
      return kernels.float_from_e4m3;
    case ElementType::int8:
      return kernels.float_from_int8;
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return nullptr;
}

// Of those that bfloat16 holds exactly; bfloat16 itself is copied.
Widen to_bfloat16_of(const KernelSet& kernels, ElementType type) {
  switch (type) {
    case ElementType::float8_e4m3:
      return kernels.bfloat16_from_e4m3;
    case ElementType::int8:
      return kernels.bfloat16_from_int8;
    case ElementType::bfloat16:
    case ElementType::float16:
    case ElementType::float32:
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return nullptr;
}

void pack_float(const KernelSet& kernels, ElementType type, const std::byte* from, std::int64_t k0, std::int64_t count,
                RowScales scales, float* packed) {
  const ToFloat convert = to_float_of(kernels, type);
  if (scales.values == nullptr) return convert(from, packed, count, 1.0F);
  const auto bytes = static_cast<std::int64_t>(size_of(type));
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t block = (k0 + done) / scales.block_k;
    const std::int64_t length = std::min(count - done, (block + 1) * scales.block_k - (k0 + done));
    convert(from + done * bytes, packed + done, length, scales.values[block]);
    done += length;
  }
}

}  // namespace

void float_from(const KernelSet& kernels, ElementType type, const void* elements, std::int64_t count, float* out) {
  to_float_of(kernels, type)(elements, out, count, 1.0F);
}

bool can_pack(const KernelSet& kernels, Compute compute, ElementType type) {
  switch (compute) {
    case Compute::float32:
      return to_float_of(kernels, type) != nullptr;
    case Compute::bfloat16:
      return type == ElementType::bfloat16 || to_bfloat16_of(kernels, type) != nullptr;
    case Compute::int16:
      return type == ElementType::int8;
  }
  return false;
}

bool stored_as_computed(Compute compute, ElementType type) {
  return (compute == Compute::float32 && type == ElementType::float32) ||
         (compute == Compute::bfloat16 && type == ElementType::bfloat16);
}

std::size_t element_bytes(Compute compute) { return compute == Compute::float32 ? 4 : 2; }

void pack_row(const KernelSet& kernels, Compute compute, ElementType type, const void* row, std::int64_t k0,
              std::int64_t count, RowScales scales, void* packed) {
  const std::byte* from = static_cast<const std::byte*>(row) + k0 * static_cast<std::int64_t>(size_of(type));
  if (compute == Compute::float32) {
    pack_float(kernels, type, from, k0, count, scales, static_cast<float*>(packed));
  } else if (compute == Compute::int16) {
    kernels.int16_from_int8(from, static_cast<std::uint16_t*>(packed), count);
  } else if (type == ElementType::bfloat16) {
    std::memcpy(packed, from, static_cast<std::size_t>(count) * 2);
  } else {
    to_bfloat16_of(kernels, type)(from, static_cast<std::uint16_t*>(packed), count);
  }
  const std::int64_t padded = ceil_div(count, kPackAlignment) * kPackAlignment;
  const std::size_t bytes = element_bytes(compute);
  std::memset(static_cast<std::byte*>(packed) + static_cast<std::size_t>(count) * bytes, 0,
              static_cast<std::size_t>(padded - count) * bytes);
}

}  // namespace expertile::cpu

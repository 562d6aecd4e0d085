#include "emulator/wide_product.hpp"

#include <array>
#include <cstdint>

#include "emulator/tensor_core.hpp"

namespace expertile::emulator {
namespace {

// Looked up rather than converted: there are few values and very many elements.
const std::vector<float>& float16_values() {
  static const std::vector<float> values = [] {
    std::vector<float> all(1 << 16);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = to_float(Float16{static_cast<std::uint16_t>(i)});
    return all;
  }();
  return values;
}
const std::array<float, 256>& e4m3_values() {
  static const std::array<float, 256> values = [] {
    std::array<float, 256> all{};
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = to_float(Float8E4M3{static_cast<std::uint8_t>(i)});
    return all;
  }();
  return values;
}

template <class At>
void read_all(int count, double* to, std::size_t stride, const At& at) {
  for (int k = 0; k < count; ++k) to[static_cast<std::size_t>(k) * stride] = at(k);
}

}  // namespace

std::size_t elements_of(Product product) {
  switch (product) {
    case Product::tf32:
    case Product::tf32x3:
      return 8;
    case Product::e4m3:
    case Product::int8:
      return 32;
    default:
      return 16;
  }
}

void read_elements(Product product, const std::byte* row, double* to, std::size_t stride) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(row);
  const auto half = [bytes](int k) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes + 2 * k, 2);
    return bits;
  };
  switch (product) {
    case Product::tf32:
    case Product::tf32x3:
      return read_all(8, to, stride, [&](int k) { return tf32_at(bytes, k); });
    case Product::e4m3: {
      const auto& values = e4m3_values();
      return read_all(32, to, stride, [&](int k) { return values[bytes[k]]; });
    }
    case Product::int8:
      return read_all(32, to, stride, [&](int k) { return int8_at(bytes, k); });
    case Product::bfloat16:
    case Product::int8_bfloat16:
      return read_all(16, to, stride,
                      [&](int k) { return std::bit_cast<float>(static_cast<std::uint32_t>(half(k)) << 16U); });
    default: {
      const auto& values = float16_values();
      return read_all(16, to, stride, [&](int k) { return values[half(k)]; });
    }
  }
}

void multiply_rows(Product product, std::size_t columns, const double* x, const double* y, bool accumulates,
                   double* sums) {
  const std::size_t elements = elements_of(product);
  double row[256];
  for (std::size_t r = 0; r < 16; ++r, sums += columns, x += elements) {
    for (std::size_t n = 0; n < columns; ++n) row[n] = accumulates ? sums[n] : 0.0;
    for (std::size_t k = 0; k < elements; ++k) {
      const double factor = x[k];
      const double* values = y + k * columns;
      for (std::size_t n = 0; n < columns; ++n) row[n] += factor * values[n];
    }
    if (sums_are_int(product)) {
      for (std::size_t n = 0; n < columns; ++n) {
        sums[n] = static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::int64_t>(row[n])));
      }
    } else {
      for (std::size_t n = 0; n < columns; ++n) sums[n] = static_cast<float>(row[n]);
    }
  }
}

}  // namespace expertile::emulator

#pragma once
// The problem that is tuned and looked up: one expert layer's projection, without the batch size.

#include <cstdint>
#include <optional>

#include "expertile/error.hpp"
#include "expertile/types.hpp"

namespace expertile {

struct Problem {
  std::int64_t experts = 8;  // E, on this rank
  std::int64_t n = 4096;     // columns of C
  std::int64_t k = 4096;     // reduction length
  DType dtype = DType::float16;
  std::optional<BlockShape> block_shape{};  // block quantisation of the weights
  std::optional<Scales> scales{};           // none given: usual_scales(dtype, block_shape)
  std::int64_t top_k = 2;                   // experts a token; rows M = batch * top_k
  std::int64_t hidden_size = 0;             // part of the file's name; 0 means k
  bool tf32 = false;                        // float32: a GPU may round operands to tf32, 10 bits of mantissa
};

[[nodiscard]] Scales usual_scales(DType dtype, bool has_block_shape) noexcept;
[[nodiscard]] Scales scales_of(const Problem& problem) noexcept;
[[nodiscard]] std::int64_t hidden_size_of(const Problem& problem) noexcept;
// True when A arrives as floats and is quantised to e4m3 per row and block_k by the call itself.
[[nodiscard]] bool quantises_a(const Problem& problem) noexcept;
[[nodiscard]] std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept;  // a >= 0, b > 0

// Sizes positive and products inside int64, dtype, block_shape and scales consistent.
[[nodiscard]] Status validate(const Problem& problem);

}  // namespace expertile

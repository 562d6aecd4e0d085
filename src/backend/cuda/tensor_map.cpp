#include "backend/cuda/tensor_map.hpp"

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "kernel_shape.hpp"

namespace expertile::cuda {
namespace {

// CUtensorMapDataType; none where no kernel reads the type. Bytes that the tensor core reads as e4m3 are copied as any
// others. float32 that is multiplied as tf32 alone is rounded to that by the copy: the tensor core would cut it off.
std::optional<int> data_type(ElementType type, bool rounds_to_tf32) {
  switch (type) {
    case ElementType::float16:
      return 6;
    case ElementType::float32:
      return rounds_to_tf32 ? 11 : 7;  // TFLOAT32, FLOAT32
    case ElementType::bfloat16:
      return 9;
    case ElementType::float8_e4m3:
    case ElementType::int8:
      return 0;  // UINT8
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return std::nullopt;
}

}  // namespace

Result<TensorMap> make_tensor_map(const Driver& driver, const ConstMatrixView& matrix, int box_rows,
                                  bool rounds_to_tf32) {
  constexpr int kRank = 2;
  constexpr int kNotInterleaved = 0;
  constexpr int kSwizzle128 = 3;
  constexpr int kPromoteTo128 = 2;  // what comes through the L2: no measured difference to 256
  constexpr int kZeroOutside = 0;
  constexpr auto kMostRows = std::int64_t{std::numeric_limits<int>::max()};
  if (matrix.rows > kMostRows) {
    return fail(ErrorCode::unsupported,
                fmt::format("a matrix of {} rows, a bulk copy numbers {}", matrix.rows, kMostRows));
  }
  const auto type = data_type(matrix.type, rounds_to_tf32);
  if (!type) {
    return fail(ErrorCode::unsupported, fmt::format("a matrix of {}, bulk copies bring none", name(matrix.type)));
  }
  const auto element = static_cast<std::int64_t>(size_of(matrix.type));
  // Innermost first.
  const std::uint64_t sizes[kRank] = {static_cast<std::uint64_t>(matrix.cols), static_cast<std::uint64_t>(matrix.rows)};
  const std::uint64_t pitches[kRank - 1] = {static_cast<std::uint64_t>(matrix.pitch * element)};
  const std::uint32_t box[kRank] = {static_cast<std::uint32_t>(kSwizzleBytes / element),
                                    static_cast<std::uint32_t>(box_rows)};
  const std::uint32_t steps[kRank] = {1, 1};
  TensorMap map{};
  const int code = driver.encode_tiled(&map, *type, kRank, const_cast<void*>(matrix.data), sizes, pitches, box, steps,
                                       kNotInterleaved, kSwizzle128, kPromoteTo128, kZeroOutside);
  if (code != kSuccess) {
    return fail(
        ErrorCode::unsupported,
        fmt::format("a matrix of {} x {} elements of {} bytes, {} from row to row, at {} cannot be copied in boxes of "
                    "{} rows: {}",
                    matrix.rows, matrix.cols, element, matrix.pitch, matrix.data, box_rows,
                    driver.check(code, "encoding its tensor map").error().message));
  }
  return map;
}

}  // namespace expertile::cuda

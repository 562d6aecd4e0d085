// Elements in the host's memory: quantised, and converted.

#include "capi/matrices.hpp"
#include "capi/structs.hpp"
#include "capi/words.hpp"
#include "expertile/grouped_gemm.hpp"
#include "problem/sizes.hpp"

namespace expertile::capi {
namespace {

Status convert(const void* from, ElementType from_element, void* to, ElementType to_element, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    store_element(to_element, load_element(from_element, from, i), to, i);
  }
  return {};
}

}  // namespace
}  // namespace expertile::capi

extern "C" {

expertile_status expertile_quantise_rows(const expertile_matrix* a, int64_t block_k,
                                         const expertile_mutable_matrix* out, float* scales, int64_t scale_count) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto from = capi::view_at<ConstMatrixView>(a, "a");
    if (!from) return fail(from.error());
    const auto to = capi::view_at<MatrixView>(out, "out");
    if (!to) return fail(to.error());
    if (auto status = capi::check_aligned(from->data, size_of(from->type), "a.data"); !status) return status;
    const auto made = capi::span_of(scales, scale_count, "scales", "scale_count");
    if (!made) return fail(made.error());
    return quantise_rows(*from, block_k, *to, *made);
  });
}

expertile_status expertile_convert(const void* from, expertile_element from_element, void* to,
                                   expertile_element to_element, int64_t count) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto read = capi::element_of(static_cast<std::int32_t>(from_element), "from_element");
    if (!read) return fail(read.error());
    const auto written = capi::element_of(static_cast<std::int32_t>(to_element), "to_element");
    if (!written) return fail(written.error());
    if (count < 0) return capi::invalid(fmt::format("count is {}, it must not be negative", count));
    if (count > 0 && (from == nullptr || to == nullptr)) {
      return capi::invalid(fmt::format("{} is null, it must hold {} elements", from == nullptr ? "from" : "to", count));
    }
    if (auto status = capi::check_aligned(from, size_of(*read), "from"); !status) return status;
    if (auto status = capi::check_aligned(to, size_of(*written), "to"); !status) return status;
    return capi::convert(from, *read, to, *written, count);
  });
}

}  // extern "C"

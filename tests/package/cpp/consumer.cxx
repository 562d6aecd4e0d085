// A program of somebody else: one product, and where the tile of one token's two rows comes from.
#include <expertile/grouped_gemm.hpp>
#include <iostream>
#include <numeric>
#include <vector>

int main() {
  std::vector<float> a(4), b(2 * 3 * 4), c(3);
  std::iota(a.begin(), a.end(), 1.0F);
  std::iota(b.begin(), b.end(), 0.0F);
  const std::vector<std::int64_t> offsets{0, 1}, experts{1};
  const auto gemm = expertile::GroupedGemm::prepare({.experts = 2, .n = 3, .k = 4, .dtype = expertile::DType::float32},
                                                    {.device = "cpu", .threads = 1});
  if (!gemm) {
    std::cerr << gemm.error().message << '\n';
    return expertile::exit_status(gemm.error());
  }
  const auto status = (*gemm)({.a = expertile::view(a.data(), 1, 4),
                               .b = expertile::view(b.data(), 6, 4),
                               .c = expertile::view(c.data(), 1, 3),
                               .seg_indptr = offsets,
                               .weight_indices = experts});
  if (!status) {
    std::cerr << status.error().message << '\n';
    return expertile::exit_status(status.error());
  }
  std::cout << c[0] << ' ' << c[1] << ' ' << c[2] << ", " << expertile::name(gemm->selection(2).match) << '\n';
}

// Prints where the installed package's configuration came from.
#include <expertile/grouped_gemm.hpp>
#include <iostream>

int main() {
  const auto gemm = expertile::GroupedGemm::prepare({.experts = 2, .n = 64, .k = 64});
  if (!gemm) {
    std::cerr << gemm.error().message << '\n';
    return expertile::exit_status(gemm.error());
  }
  std::cout << expertile::name(gemm->selection(2).match) << '\n';
}

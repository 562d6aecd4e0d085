// The products that the library writes for the Hopper family's kernels, every width of each, assembled by NVRTC: no GPU
// is needed for that.

#include "jit/wgmma_text.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "jit/device_text.hpp"
#include "jit/kernel_source.hpp"
#include "jit/nvrtc.hpp"
#include "kernel_shape.hpp"

namespace expertile::jit {
namespace {

bool takes_columns(Product product, int columns) {
  return columns % (product == Product::int8 && columns > 32 ? 16 : 8) == 0;
}

std::vector<int> widths(Product product) {
  std::vector<int> all;
  for (int columns = 8; columns <= 256; columns += 8) {
    if (takes_columns(product, columns)) all.push_back(columns);
  }
  return all;
}

// Two kernels of one product and width: x from shared memory and from registers. Each width's header has a namespace of
// its own.
std::string kernels(Product product, int columns) {
  return fmt::format(
      R"(
namespace columns_{columns} {{
using ::expertile::Product;
#include "wgmma_{columns}.hpp"
using Sum = {sum};
template <class X>
__device__ void multiply(const X& x, unsigned long long y, Sum* out) {{
  constexpr auto kProduct = static_cast<Product>({product});
  Sum d[{columns} / 8][4] = {{}};
  ::expertile::ptx::wgmma_fence();
  if constexpr (sizeof(X) == 16) {{
    expertile::ptx::wgmma_from_registers<kProduct, {columns}, false>(d, x, y);
    expertile::ptx::wgmma_from_registers<kProduct, {columns}, true>(d, x, y);
  }} else {{
    expertile::ptx::wgmma<kProduct, {columns}, false>(d, x, y);
    expertile::ptx::wgmma<kProduct, {columns}, true>(d, x, y);
  }}
  ::expertile::ptx::wgmma_commit();
  ::expertile::ptx::wgmma_wait<0>();
  for (auto& column : d) {{
    for (Sum& sum : column) {{
      ::expertile::ptx::fence_operand(sum);
      *out++ = sum;
    }}
  }}
}}
extern "C" __global__ void __launch_bounds__(128) shared_{columns}(unsigned long long x, unsigned long long y, Sum* out) {{
  multiply(x, y, out);
}}
extern "C" __global__ void __launch_bounds__(128) registers_{columns}(uint4 x, unsigned long long y, Sum* out) {{
  const unsigned words[4] = {{x.x, x.y, x.z, x.w}};
  multiply(words, y, out);
}}
}}
)",
      fmt::arg("columns", columns), fmt::arg("sum", product == Product::int8 ? "int" : "float"),
      fmt::arg("product", static_cast<int>(product)));
}

Source source(Product product, const std::vector<int>& all_columns) {
  Source made{"products.cu", "#include <ptx90.hpp>\n", device_headers()};
  for (const int columns : all_columns) {
    KernelSpec spec;
    spec.product = product;
    spec.tile = {.block_size_m = 64, .block_size_n = columns, .num_warps = 4, .kernel = KernelFamily::sm90};
    if (has_subtiles(spec)) continue;  // wider products than a subtile's are never written
    made.text += kernels(product, columns);
    made.headers.emplace_back(fmt::format("wgmma_{}.hpp", columns), wgmma_text(spec));
  }
  return made;
}

struct NamedProduct {
  const char* name;
  Product product;
};
void PrintTo(const NamedProduct& one, std::ostream* out) { *out << one.name; }

class EveryWgmma : public ::testing::TestWithParam<NamedProduct> {};

TEST_P(EveryWgmma, AssemblesFromSharedMemoryAndFromRegisters) {
  const auto nvrtc = Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  const auto cubin = nvrtc->compile(kernel_request(source(GetParam().product, widths(GetParam().product)), "sm_90a"));
  ASSERT_TRUE(cubin) << cubin.error().message;
  const auto status = refuse_if_slow(cubin->resources);
  EXPECT_TRUE(status) << status.error().message;
}

INSTANTIATE_TEST_SUITE_P(, EveryWgmma,
                         ::testing::Values(NamedProduct{"float16", Product::float16},
                                           NamedProduct{"bfloat16", Product::bfloat16},
                                           NamedProduct{"tf32", Product::tf32}, NamedProduct{"tf32x3", Product::tf32x3},
                                           NamedProduct{"int8", Product::int8}, NamedProduct{"e4m3", Product::e4m3},
                                           NamedProduct{"int8_float16", Product::int8_float16},
                                           NamedProduct{"int8_bfloat16", Product::int8_bfloat16}),
                         [](const auto& entry) { return entry.param.name; });

TEST(Wgmma, OfInt8TakesNoOddMultipleOfEightAboveThirtyTwo) {
  const auto nvrtc = Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  ASSERT_FALSE(takes_columns(Product::int8, 40));
  EXPECT_FALSE(nvrtc->compile(kernel_request(source(Product::int8, {40}), "sm_90a")));
  EXPECT_TRUE(nvrtc->compile(kernel_request(source(Product::tf32, {40}), "sm_90a")));
}

}  // namespace
}  // namespace expertile::jit

// Every wrong call is refused by its line, and the page that lists them is up to date.

#include "capi/wrong_calls.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "files/files.hpp"

namespace expertile::testing {
namespace {

// Addresses and handles are not the same in two runs.
std::string without_addresses(std::string line) {
  for (auto at = line.find("0x"); at != std::string::npos; at = line.find("0x", at + 2)) {
    const auto end = std::min(line.find_first_not_of("0123456789abcdef", at + 2), line.size());
    line.replace(at + 2, end - at - 2, "...");
  }
  return line;
}

TEST(WrongCallsOfC, AreEachRefusedByAStatusAndALine) {
  std::set<std::string> names;
  for (const WrongCall& wrong : wrong_calls()) {
    const std::string name = fmt::format("{}, {}", wrong.function, wrong.wrong);
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    Scene scene;
    const std::vector<float> before = scene.c;
    EXPECT_EQ(expertile_status_name(wrong.call(scene)), std::string(expertile_status_name(wrong.status))) << name;
    EXPECT_EQ(without_addresses(expertile_last_error()), wrong.line) << name;
    EXPECT_EQ(scene.c, before) << name << " wrote to C";
  }
  EXPECT_GE(names.size(), 60U);
}

TEST(WrongCallsOfC, AreWrongInNothingElse) {
  Scene scene;
  EXPECT_EQ(expertile_run(scene.gemm.get(), &scene.args), EXPERTILE_OK) << expertile_last_error();
  EXPECT_EQ(expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), 2), EXPERTILE_OK)
      << expertile_last_error();
}

const std::string kPage = std::string(EXPERTILE_SOURCE_DIR) + "/docs/c-errors.md";
constexpr const char* kHead = R"(# What wrong calls from C say

Each of these calls is wrong in one thing; nothing is written, and `expertile_last_error()` says the line. In it,
`0x...` stands for an address or a handle. The calls are for a problem of 2 experts, N=16, K=32, float32, and 2 rows of
A. The contracts are in [c-api.md](c-api.md). This page is made from `tests/capi/wrong_calls.cpp`,
`wrong_products.cpp` and `wrong_tunings.cpp` by a test (`EXPERTILE_WRITE_DOCS=1` writes it).

| call | what is wrong | status | line |
|---|---|---|---|
)";

TEST(WrongCallsOfC, AreTheOnesOnTheirPage) {
  std::string right = kHead;
  for (const WrongCall& wrong : wrong_calls()) {
    right += fmt::format("| `{}` | {} | `{}` | {} |\n", wrong.function, wrong.wrong,
                         expertile_status_name(wrong.status), wrong.line);
  }
  const auto page = read_text(kPage, 1 << 20);
  if (!environment("EXPERTILE_WRITE_DOCS").empty()) std::ofstream(kPage) << right;
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(*page, right) << "EXPERTILE_WRITE_DOCS=1 writes the page anew";
}

}  // namespace
}  // namespace expertile::testing

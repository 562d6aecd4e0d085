// A call through C is the call through C++: right by the double-precision reference, and the same bits.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/reference.hpp"
#include "capi/c_calls.hpp"
#include "store/temporary_directory.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

constexpr std::uint64_t kProblems = 12;

class EveryDtypeInC : public ::testing::TestWithParam<Combination> {};

// All of C, its padding too.
std::vector<std::byte> bytes_of_c(const GroupedGemmArgs& args) {
  const auto* data = static_cast<const std::byte*>(args.c.data);
  return {data, data + static_cast<std::size_t>(args.c.rows * args.c.pitch) * size_of(args.c.type)};
}

TEST_P(EveryDtypeInC, IsRightByTheReferenceAndTheSameBitsAsInCpp) {
  const TemporaryDirectory directory;
  for (std::uint64_t seed = 0; seed < kProblems; ++seed) {
    const auto rows = static_cast<RowLayout>(seed % 3);
    RandomProblem random(GetParam(), seed, {.rows = rows});
    const ProblemHandle problem = made(desc_of(random.problem()));
    const OperationHandle gemm = prepared(problem.get(), directory.path(), static_cast<expertile_row_layout>(rows));
    const GroupedGemmArgs args = random.args();
    const expertile_grouped_gemm_args c_args = args_of(args);
    ASSERT_EQ(expertile_validate(problem.get(), &c_args), EXPERTILE_OK) << expertile_last_error();
    ASSERT_EQ(expertile_run(gemm.get(), &c_args), EXPERTILE_OK) << expertile_last_error();
    ASSERT_EQ(random.overwritten(), 0) << random.describe();
    ASSERT_LE(worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)), 1.0)
        << random.describe();
    const std::vector<std::byte> through_c = bytes_of_c(args);
    random.poison();
    const auto same = GroupedGemm::prepare(
        random.problem(), {.device = "cpu", .threads = 2, .config_dir = directory.path(), .row_layout = rows});
    ASSERT_TRUE(same) << same.error().message;
    ASSERT_TRUE((*same)(args));
    ASSERT_EQ(through_c, bytes_of_c(args)) << random.describe();
  }
}

INSTANTIATE_TEST_SUITE_P(, EveryDtypeInC, ::testing::ValuesIn(all_combinations()),
                         [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace expertile::testing

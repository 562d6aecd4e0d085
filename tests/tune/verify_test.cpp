// What is verified is what is timed: kernels that go wrong where only a whole problem would show it.

#include "tune/verify.hpp"

#include <gtest/gtest.h>

#include "problem/sizes.hpp"
#include "tune/changed_backend.hpp"

namespace expertile {
namespace {

using testing::ChangedBackend;
using testing::wrong_for_block_size_m;

const Problem kProblem{.experts = 4, .n = 1024, .k = 512, .dtype = DType::bfloat16, .top_k = 2};
const TileConfig kTile{.block_size_m = 32, .block_size_n = 64, .block_size_k = 128};

// Spoils one element of C where `is_wrong` says so: of a group's rows and the columns.
using IsWrong = std::function<bool(const GroupedGemmArgs&, std::int64_t row_of_group, std::int64_t column)>;
testing::Spoil spoiled_where(const IsWrong& is_wrong) {
  return [is_wrong](const Problem&, const TileConfig&, const GroupedGemmArgs& args) {
    for (std::size_t g = 0; g + 1 < args.seg_indptr.size(); ++g) {
      for (std::int64_t row = args.seg_indptr[g]; row < args.seg_indptr[g + 1]; ++row) {
        for (std::int64_t n = 0; n < args.c.cols; ++n) {
          if (!is_wrong(args, row - args.seg_indptr[g], n)) continue;
          store_element(args.c.type, 1e4F, args.c.data, row * args.c.pitch + n);
        }
      }
    }
  };
}

double error_of(const testing::Spoil& spoil, const Problem& problem = kProblem, const TileConfig& tile = kTile) {
  const ChangedBackend backend(spoil);
  return Verification(backend, problem).error_over_bound(tile).value();
}

TEST(Verify, AcceptsARightKernelAndRefusesOneWrongElement) {
  EXPECT_LE(error_of({}), 1.0);
  EXPECT_GT(error_of(wrong_for_block_size_m(32)), 1.0);
}

TEST(Verify, RefusesWrongRowsOfASecondRowTile) {
  EXPECT_GT(error_of(spoiled_where([](const auto&, auto row, auto n) { return row >= 32 && n == 17; })), 1.0);
}

TEST(Verify, RefusesOneWrongWideStoreOfASecondRowTile) {
  EXPECT_GT(error_of(spoiled_where([](const auto&, auto row, auto n) { return row == 37 && n / 8 == 5; })), 1.0);
}

TEST(Verify, RefusesWrongStoresOfWholeLines) {
  const auto wide = [](const auto& args, auto, auto n) { return args.c.cols % 8 == 0 && n / 8 == 3; };
  EXPECT_GT(error_of(spoiled_where(wide)), 1.0);
}

TEST(Verify, RefusesWrongRowsOfASecondWarpgroup) {
  TileConfig tile = kTile;
  tile.block_size_m = 128;
  const auto second_half = [](const auto&, auto row, auto n) { return row % 128 >= 64 && n % 64 == 1; };
  EXPECT_GT(error_of(spoiled_where(second_half), kProblem, tile), 1.0);
}

TEST(Verify, RefusesAWrongSecondColumnTile) {
  EXPECT_GT(error_of(spoiled_where([](const auto&, auto row, auto n) { return row == 0 && n >= 64; })), 1.0);
  // and of a cluster that two column tiles belong to
  TileConfig tile = kTile;
  tile.cluster_size = 2;
  EXPECT_GT(error_of(spoiled_where([](const auto&, auto row, auto n) { return row == 0 && n >= 128; }), kProblem, tile),
            1.0);
}

TEST(Verify, RefusesARowTileOfAClusterThatStaysUnwritten) {
  TileConfig tile = kTile;
  tile.cluster_m = 2;
  const auto forgets = [](const Problem&, const TileConfig&, const GroupedGemmArgs& args) {
    for (std::int64_t row = 64; row < args.seg_indptr[1]; ++row) {
      for (std::int64_t n = 0; n < args.c.cols; ++n) {
        static_cast<std::uint16_t*>(args.c.data)[row * args.c.pitch + n] = 0xffff;
      }
    }
  };
  EXPECT_GT(error_of(forgets, kProblem, tile), 1.0);
}

// The sizes of every call of a verification.
std::vector<std::pair<std::int64_t, std::int64_t>> verified_sizes(const Problem& problem) {
  std::vector<std::pair<std::int64_t, std::int64_t>> sizes;
  const double error =
      error_of([&](const Problem& cut, const TileConfig&, const GroupedGemmArgs&) { sizes.emplace_back(cut.n, cut.k); },
               problem);
  EXPECT_LE(error, 1.0);
  return sizes;
}

// Counts what is allocated: each case has tensors of its own.
class CountingBackend final : public ChangedBackend {
 public:
  Result<Buffer> allocate(std::size_t bytes) const override {
    ++allocations_;
    return ChangedBackend::allocate(bytes);
  }
  [[nodiscard]] int allocations() const { return allocations_; }

 private:
  mutable int allocations_ = 0;
};

TEST(Verify, TilesOfAboutOneSizeShareTheReference) {
  const CountingBackend backend;
  Verification verification(backend, kProblem);
  TileConfig tile = kTile;
  tile.block_size_m = 64;
  EXPECT_LE(verification.error_over_bound(tile).value(), 1.0);
  const int once = backend.allocations();
  EXPECT_GT(once, 0);
  tile.block_size_m = 128;
  tile.block_size_n = 128;
  EXPECT_LE(verification.error_over_bound(tile).value(), 1.0);
  EXPECT_EQ(backend.allocations(), once);
  tile.block_size_m = 256;
  EXPECT_LE(verification.error_over_bound(tile).value(), 1.0);
  EXPECT_GT(backend.allocations(), once);
}

TEST(Verify, CutsAsAlignedAsTheProblemIs) {
  EXPECT_EQ(verified_sizes(kProblem).back(), std::pair(std::int64_t{224}, std::int64_t{192}));
  Problem odd = kProblem;
  odd.n = 1000;  // eights, not sixteens
  odd.k = 500;   // fours, not eights
  EXPECT_EQ(verified_sizes(odd).back(), std::pair(std::int64_t{200}, std::int64_t{172}));
  Problem small = kProblem;
  small.n = 24;
  small.k = 8;
  EXPECT_EQ(verified_sizes(small).back(), std::pair(std::int64_t{24}, std::int64_t{8}));
}

}  // namespace
}  // namespace expertile

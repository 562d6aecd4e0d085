// Tuning, timing and looking up by expertile.h.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "capi/c_calls.hpp"
#include "store/temporary_directory.hpp"

namespace expertile::testing {
namespace {

// What the events told.
struct Heard {
  int progress = 0;
  double share_done = 0;
  std::vector<std::int64_t> decided;
  std::string document;
  bool stops = false;

  [[nodiscard]] expertile_events events() {
    auto events = sized<expertile_events>();
    events.user = this;
    events.progress = [](void* user, const expertile_tune_progress* at) {
      auto& heard = *static_cast<Heard*>(user);
      ++heard.progress;
      EXPECT_GE(at->share_done, heard.share_done);
      EXPECT_EQ(at->size, sizeof *at);
      EXPECT_STREQ(at->projection, "gate_up");
      heard.share_done = at->share_done;
    };
    events.decided = [](void* user, const expertile_tuned_batch* batch) {
      static_cast<Heard*>(user)->decided.push_back(batch->batch);
      EXPECT_GT(batch->tuned_us, 0);
      EXPECT_NE(std::string(batch->tile).find("BLOCK_SIZE_M="), std::string::npos);
    };
    events.stop_requested = [](void* user) {
      const auto& heard = *static_cast<const Heard*>(user);
      return heard.stops && !heard.decided.empty() ? 1 : 0;
    };
    events.document = [](void* user, const char* json) { static_cast<Heard*>(user)->document = json; };
    return events;
  }
};

class TuningByC : public ::testing::Test {
 protected:
  [[nodiscard]] std::vector<expertile_option> options(const char* batches) const {
    return {{"hidden-size", "64"}, {"num_experts", "2"},      {"intermediate-size", "32"},
            {"dtype", "float32"},  {"batch-size", batches},   {"device", "cpu"},
            {"threads", "1"},      {"projection", "gate_up"}, {"output-dir", folder_.c_str()}};
  }
  TemporaryDirectory directory_;
  std::string folder_ = directory_.path();
  Heard heard_;
};

TEST_F(TuningByC, TellsAsItGoesAndMakesTheFileThatAnOperationFinds) {
  const auto wanted = options("1,4");
  const expertile_events events = heard_.events();
  ASSERT_EQ(expertile_tune(wanted.data(), wanted.size(), &events, nullptr, 0), EXPERTILE_OK) << expertile_last_error();
  EXPECT_EQ(heard_.decided, (std::vector<std::int64_t>{1, 4}));
  EXPECT_GT(heard_.progress, 2);
  EXPECT_EQ(heard_.share_done, 1);
  EXPECT_NE(heard_.document.find("\"problems\""), std::string::npos);

  Heard shown;
  const expertile_events show_events = shown.events();
  ASSERT_EQ(expertile_show(wanted.data(), wanted.size(), &show_events), EXPERTILE_OK) << expertile_last_error();
  EXPECT_NE(shown.document.find("\"exact\""), std::string::npos) << shown.document;
}

TEST_F(TuningByC, KeepsWhatIsDecidedWhenItIsAskedToStop) {
  heard_.stops = true;
  const auto wanted = options("1,4");
  const expertile_events events = heard_.events();
  ASSERT_EQ(expertile_tune(wanted.data(), wanted.size(), &events, nullptr, 0), EXPERTILE_OK) << expertile_last_error();
  EXPECT_EQ(heard_.decided, std::vector<std::int64_t>{1});
}

TEST_F(TuningByC, NeedsNoEvents) {
  const auto wanted = options("1");
  EXPECT_EQ(expertile_bench(wanted.data(), wanted.size(), nullptr), EXPERTILE_OK) << expertile_last_error();
}

}  // namespace
}  // namespace expertile::testing

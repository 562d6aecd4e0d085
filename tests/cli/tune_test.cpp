// The way of a user: tune, look, call; and what is left when the tuning is killed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/run_program.hpp"
#include "store/config_file.hpp"

namespace expertile {
namespace {

using test::Outcome;
using test::TemporaryDirectory;
using testing::HasSubstr;
using testing::Not;

Outcome run_cli(const TemporaryDirectory& directory, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), EXPERTILE_CLI);
  arguments.insert(arguments.end(), {"--output-dir", directory.path(), "--hidden-size", "64", "--device", "cpu"});
  return test::run_program(arguments);
}

TEST(Tune, LeavesAFileThatShowBenchAndTheExampleThenUse) {
  const TemporaryDirectory directory;
  const Outcome before = test::run_program({EXPERTILE_EXAMPLE, "64", "2", directory.path()});
  ASSERT_EQ(before.status, 0) << before.err;
  EXPECT_THAT(before.out, HasSubstr("match: built_in"));

  const Outcome tuned = run_cli(directory, {"tune", "--json", "--batch-size", "1,2"});
  ASSERT_EQ(tuned.status, 0) << tuned.err;
  const auto document = nlohmann::json::parse(tuned.out);
  ASSERT_EQ(document["problems"].size(), 2U);
  for (const auto& problem : document["problems"]) {
    ASSERT_EQ(problem["results"].size(), 2U);
    const auto& result = problem["results"][1];
    EXPECT_EQ(result["batch"], 2);
    EXPECT_EQ(result["rows"], 4.0);
    EXPECT_GT(result["default_us"], 0.0);
    EXPECT_GT(result["tuned_us"], 0.0);
    EXPECT_GT(result["gflops"], 0.0);
    EXPECT_GT(result["gbps"], 0.0);
    EXPECT_EQ(result["match"], "exact");
    const auto file = read_config(problem["file"].get<std::string>());
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->file.tiles.size(), 2U);
    EXPECT_EQ(file->file.tiles.at(2).block_size_m, result["config"]["BLOCK_SIZE_M"]);
    EXPECT_EQ(file->file.metadata.at("routing"), "uniform");
  }

  const Outcome after = test::run_program({EXPERTILE_EXAMPLE, "64", "2", directory.path()});
  ASSERT_EQ(after.status, 0) << after.err;
  EXPECT_THAT(after.out, HasSubstr("match: exact"));
  EXPECT_THAT(after.out, Not(HasSubstr("match: built_in")));
  EXPECT_THAT(after.out, HasSubstr(document["problems"][0]["file"].get<std::string>()));

  const Outcome shown = run_cli(directory, {"show", "--json", "--batch-size", "2,4"});
  ASSERT_EQ(shown.status, 0) << shown.err;
  const auto selections = nlohmann::json::parse(shown.out)["problems"][0]["results"];
  EXPECT_EQ(selections[0]["match"], "exact");
  EXPECT_EQ(selections[0]["config"], document["problems"][0]["results"][1]["config"]);
  EXPECT_EQ(selections[1]["match"], "nearest_batch");

  const Outcome bench = run_cli(directory, {"bench", "--json", "--batch-size", "2", "--projection", "down"});
  ASSERT_EQ(bench.status, 0) << bench.err;
  const auto timed = nlohmann::json::parse(bench.out)["problems"][0];
  EXPECT_EQ(timed["results"][0]["match"], "exact");
  EXPECT_EQ(timed["results"][0]["config"], document["problems"][1]["results"][1]["config"]);
}

TEST(Tune, KeepsTheOtherBatchSizesAndWritesTheEvidence) {
  const TemporaryDirectory directory;
  ASSERT_EQ(run_cli(directory, {"tune", "--quiet", "--batch-size", "1", "--projection", "down"}).status, 0);
  const Outcome second = run_cli(directory, {"tune", "--batch-size", "2", "--projection", "down"});
  ASSERT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr("projection  batch"));
  std::vector<std::string> names;
  for (const auto& path : test::files_below(directory.path())) {
    if (path.extension() != ".json") continue;
    names.push_back(path.filename());
    if (path.filename() == "grouped_gemm_config_64_float16.json") {
      EXPECT_EQ(read_config(path)->file.tiles.size(), 2U);
    } else {
      const auto evidence = nlohmann::json::parse(test::read_all(path));
      EXPECT_FALSE(evidence["batches"]["2"]["candidates"].empty());
    }
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("grouped_gemm_config_64_float16.json",
                                                   "grouped_gemm_config_64_float16.report.json"));
}

TEST(Tune, NoTuneTimesTheDefaultAndWritesNothing) {
  const TemporaryDirectory directory;
  const Outcome outcome = run_cli(directory, {"tune", "--no-tune", "--json", "--batch-size", "1"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto problem = nlohmann::json::parse(outcome.out)["problems"][0];
  EXPECT_TRUE(problem["file"].is_null());
  EXPECT_EQ(problem["results"][0]["match"], "built_in");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(Tune, KilledInTheMiddleEveryFinishedBatchSizeStaysReadable) {
  const TemporaryDirectory directory;
  const int pid = test::start_program({EXPERTILE_CLI, "tune", "--hidden-size", "64", "--output-dir", directory.path(),
                                       "--projection", "down", "--device", "cpu"});
  const auto find_config = [&] {
    for (const auto& path : test::files_below(directory.path())) {
      if (path.filename() == "grouped_gemm_config_64_float16.json") return path;
    }
    return std::filesystem::path();
  };
  std::filesystem::path config;
  for (int i = 0; i < 6000 && config.empty(); ++i) {
    usleep(10000);
    config = find_config();
  }
  test::kill_program(pid);
  ASSERT_FALSE(config.empty()) << "no batch size was decided within a minute";
  const auto file = read_config(config);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_GE(file->file.tiles.size(), 1U);

  // what a dead process left lying about, its lock too, is in nobody's way
  const std::size_t finished = file->file.tiles.size();
  ASSERT_EQ(run_cli(directory, {"tune", "--quiet", "--batch-size", "4096", "--projection", "down"}).status, 0);
  EXPECT_EQ(read_config(config)->file.tiles.size(), finished + 1);
}

TEST(Tune, ADamagedFileIsRefusedBeforeTheWorkAndLeftAsItIs) {
  const TemporaryDirectory directory;
  ASSERT_EQ(run_cli(directory, {"tune", "--quiet", "--batch-size", "1", "--projection", "down"}).status, 0);
  for (const auto& path : test::files_below(directory.path())) {
    if (path.filename() != "grouped_gemm_config_64_float16.json") continue;
    std::filesystem::resize_file(path, 20);
    const std::string damaged = test::read_all(path);
    const Outcome outcome = run_cli(directory, {"tune", "--quiet", "--batch-size", "1", "--projection", "down"});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(test::lines(outcome.err).size(), 1U) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(path.string()));
    EXPECT_EQ(test::read_all(path), damaged);
  }
}

}  // namespace
}  // namespace expertile

// Tuning, timing and looking up from a program, by expertile/tune.hpp alone; the command line gives the same.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "expertile/tune.hpp"
#include "store/config_file.hpp"
#include "support/run_program.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;
using test::TemporaryDirectory;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;
using Options = std::vector<TuneOption>;

// A tiny problem in this directory, with others behind.
Options tiny(const TemporaryDirectory& directory, const Options& others = {}) {
  Options options = {{"hidden-size", "64"}, {"device", "cpu"}, {"output-dir", directory.path().string()}};
  options.insert(options.end(), others.begin(), others.end());
  return options;
}

test::Outcome run_cli(const std::string& command, const Options& options) {
  std::vector<std::string> arguments = {EXPERTILE_CLI, command, "--json"};
  for (const auto& [name, value] : options) {
    arguments.push_back("--" + name);
    if (!value.empty()) arguments.push_back(value);
  }
  return test::run_program(arguments);
}

// What a document says beside times, tiles and where the files are.
Json without_measurements(Json document) {
  document.erase("warning");
  for (Json& problem : document["problems"]) {
    if (problem["file"].is_string())
      problem["file"] = std::filesystem::path(problem["file"].get<std::string>()).filename();
    for (Json& result : problem["results"]) {
      for (auto& [key, value] : result.items()) {
        if (value.is_number_float() && key != "rows") value = 0;
      }
      for (auto& [key, value] : result["config"].items()) value = 0;
    }
  }
  return document;
}

struct Heard {
  std::vector<std::string> notices, steps, order;  // order: which events came, of progress the last ones
  std::vector<double> shares;
  TuneEvents events() {
    TuneEvents all;
    all.notice = [this](std::string_view line) { notices.emplace_back(line); };
    all.step = [this](std::string_view line) { steps.emplace_back(line); };
    all.progress = [this](const TuneProgress& now) {
      shares.push_back(now.share_done);
      EXPECT_EQ(now.all, 2);
      EXPECT_GE(now.seconds_left, 0);
      EXPECT_EQ(now.projection, "down");
      const std::string text = "progress " + std::to_string(now.done);
      if (order.empty() || order.back() != text) order.push_back(text);
    };
    all.decided = [this](std::string_view projection, const TunedBatch& batch) {
      order.push_back(std::string(projection) + " " + std::to_string(batch.batch));
    };
    return all;
  }
};

TEST(TuneFromAProgram, SaysWhatItDoesInOrderAndLeavesWhatItSays) {
  const TemporaryDirectory directory;
  Heard heard;
  const Options options = {{"batch_size", "1,4"}, {"projection", "down"}, {"tp_size", "2"}, {"ep_size", "2"}};
  const auto run = tune(tiny(directory, options), heard.events());
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_THAT(heard.order, ElementsAre("progress 0", "down 1", "progress 1", "down 4", "progress 2"));
  EXPECT_THAT(heard.notices, ElementsAre(StartsWith("--tp-size 2 and --ep-size 2: a rank has 1/2 of the experts")));
  EXPECT_THAT(heard.steps,
              ElementsAre("measuring the machine's own limits", "down: E=4, N=64, K=16, float16, top_k 2"));
  EXPECT_TRUE(std::is_sorted(heard.shares.begin(), heard.shares.end()));
  EXPECT_LT(heard.shares.front(), 0.5);
  EXPECT_EQ(heard.shares.back(), 1);

  EXPECT_FALSE(run->stopped);
  EXPECT_EQ(run->batches_wanted, 2);
  ASSERT_EQ(run->projections.size(), 1U);
  const TunedProjection& down = run->projections[0];
  EXPECT_EQ(down.projection, "down");
  EXPECT_EQ(down.activation, "silu");
  EXPECT_EQ(down.problem.experts, 4);
  EXPECT_EQ(down.file, config_path(directory.path(), Device::open("cpu")->info().name, down.problem));
  const auto file = read_config(down.file);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->file.tiles.size(), down.batches.size());
  for (const TunedBatch& batch : down.batches) {
    EXPECT_EQ(file->file.tiles.at(batch.batch), batch.tile);
    EXPECT_EQ(batch.rows, static_cast<double>(2 * batch.batch));
    EXPECT_EQ(batch.match, Match::exact);
    EXPECT_GT(batch.tuned_us, 0);
    EXPECT_LE(batch.tuned_us, batch.default_us);
    EXPECT_GT(batch.gflops, 0);
    EXPECT_GT(batch.ceiling_us, 0);
  }
  EXPECT_EQ(Json::parse(run->json)["problems"][0]["results"][1]["config"]["BLOCK_SIZE_M"],
            down.batches[1].tile.block_size_m);
}

TEST(TuneFromAProgram, GivesTheDocumentThatTheCommandPrints) {
  const TemporaryDirectory directory, other;
  const Options options = {{"batch-size", "1"}, {"dtype", "int8_w8a8"}};
  const auto run = tune(tiny(directory, options));
  ASSERT_TRUE(run) << run.error().message;
  const auto outcome = run_cli("tune", tiny(other, options));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(without_measurements(Json::parse(run->json)), without_measurements(Json::parse(outcome.out)));
}

TEST(TuneFromAProgram, StopsWhenAskedToAndKeepsWhatIsDecided) {
  const TemporaryDirectory directory;
  bool is_decided = false;
  TuneEvents events;
  events.decided = [&](std::string_view, const TunedBatch&) { is_decided = true; };
  events.stop_requested = [&] { return is_decided; };
  const auto run = tune(tiny(directory, {{"batch-size", "1,4"}}), events);
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_TRUE(run->stopped);
  EXPECT_EQ(run->batches_wanted, 4);
  ASSERT_EQ(run->projections.size(), 2U);
  ASSERT_EQ(run->projections[0].batches.size(), 1U);
  EXPECT_THAT(run->projections[1].batches, IsEmpty());
  EXPECT_EQ(read_config(run->projections[0].file)->file.tiles.size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(run->projections[1].file));
}

TEST(TuneFromAProgram, ADryRunNamesTheFilesAndWritesNothing) {
  const TemporaryDirectory directory;
  const Options options = tiny(directory, {{"dry-run", ""}, {"quiet", ""}, {"ep-size", "2"}, {"tp-size", "2"}});
  Heard heard;
  const auto run = tune(options, heard.events());
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  ASSERT_EQ(run->projections.size(), 2U);
  EXPECT_EQ(run->projections[0].file.filename(), "grouped_gemm_config_64_float16.json");
  EXPECT_THAT(run->projections[0].batches, IsEmpty());
  EXPECT_THAT(heard.notices, IsEmpty()) << "quiet";
  EXPECT_EQ(run->json, run_cli("tune", options).out);
}

TEST(TuneFromAProgram, RefusesInTheWordsOfTheCommand) {
  const TemporaryDirectory directory;
  for (const Options& wrong :
       {Options{{"hidden-size", "0"}}, Options{{"dtype", "int\n3"}}, Options{{"gated", "perhaps"}},
        Options{{"device", "abacus"}}, Options{{"model", "/nonexistent"}}, Options{{"routing", "zipf:x"}},
        Options{{"output-dir", "/dev/null/x"}}, Options{{"batch-size", "2147483648"}, {"top-k", "9"}}}) {
    const auto run = tune(wrong);
    ASSERT_FALSE(run);
    const auto outcome = run_cli("tune", wrong);
    EXPECT_EQ(outcome.err.substr(outcome.err.find("expertile: ")), "expertile: " + run.error().message + "\n");
    EXPECT_EQ(outcome.status, exit_status(run.error()));
  }
  const auto unknown = tune(Options{{"hiden-size", "64"}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "option 'hiden-size' is not known; did you mean hidden-size?");
}

TEST(TuneFromAProgram, TwoRunsAtOnceLeaveTheirOwnFiles) {
  const TemporaryDirectory directories[2];
  Result<TuneRun> runs[2] = {TuneRun{}, TuneRun{}};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      runs[i] = tune(tiny(directories[i], {{"batch-size", i == 0 ? "1" : "2"}, {"projection", "down"}}));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(runs[i]) << runs[i].error().message;
    const TunedProjection& down = runs[i]->projections[0];
    const auto file = read_config(down.file);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->file.tiles.size(), 1U);
    EXPECT_EQ(file->file.tiles.at(i + 1), down.batches[0].tile);
  }
}

TEST(TuneFromAProgram, InAProcessOfItsOwnTakesTheToolAndItsOptions) {
  const TemporaryDirectory directory;
  Heard heard;
  const Options options = tiny(directory, {{"isolate", "yes"}, {"batch-size", "1,4"}, {"projection", "down"}});
  const auto missing = tune(options, {}, {"/nonexistent/expertile"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message,
            "worker program '/nonexistent/expertile' is not there; give the absolute path of the expertile tool");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "before any work";

  const auto run = tune(options, heard.events(), {EXPERTILE_CLI});
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_THAT(heard.order, ElementsAre("progress 0", "down 1", "progress 1", "down 4", "progress 2"));
  EXPECT_EQ(read_config(run->projections[0].file)->file.tiles.size(), 2U);
}

TEST(TuneFromAProgram, AProcessThatIsAtWorkIsEndedWhenAStopIsWanted) {
  const TemporaryDirectory directory;
  bool has_begun = false;
  TuneEvents events;
  events.progress = [&](const TuneProgress&) { has_begun = true; };
  events.stop_requested = [&] { return has_begun; };
  const auto run = tune(tiny(directory, {{"isolate", ""}}), events, {EXPERTILE_CLI});
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_TRUE(run->stopped);
  EXPECT_THAT(run->projections[0].batches, IsEmpty());
}

TEST(TuneFromAProgram, AWorkerThatDoesNothingIsNoSuccess) {
  const TemporaryDirectory directory;
  const auto run = tune(tiny(directory, {{"isolate", ""}, {"batch-size", "1"}}), {}, {"/bin/true"});
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().message, "the measuring process ended before it was done");
}

TEST(ShowAndBenchFromAProgram, GiveWhatTheCommandsGive) {
  const TemporaryDirectory directory;
  const Options options = tiny(directory, {{"batch-size", "1,4"}, {"projection", "down"}});
  const auto before = show(options);
  ASSERT_TRUE(before) << before.error().message;
  EXPECT_EQ(before->json, run_cli("show", options).out);
  const ShownProjection& down = before->projections.at(0);
  EXPECT_EQ(down.file, "");
  EXPECT_THAT(down.command, StartsWith("expertile tune --hidden-size 64 "));
  EXPECT_EQ(down.batches.at(1).selection.match, Match::built_in);

  ASSERT_TRUE(merge_into(down.wanted, {{1, TileConfig{8, 16, 64, 1, 1, 1}}}, {}));
  const auto after = show(options);
  EXPECT_EQ(after->projections.at(0).file, down.wanted);
  EXPECT_EQ(after->projections.at(0).batches.at(0).selection.match, Match::exact);
  EXPECT_EQ(after->projections.at(0).batches.at(1).selection.match, Match::nearest_batch);
  EXPECT_EQ(after->json, run_cli("show", options).out);

  const auto timed = bench(options);
  ASSERT_TRUE(timed) << timed.error().message;
  EXPECT_EQ(timed->projections.at(0).batches.at(1).match, Match::nearest_batch);
  EXPECT_EQ(without_measurements(Json::parse(timed->json)),
            without_measurements(Json::parse(run_cli("bench", options).out)));
}

TEST(TheTuneExample, TunesAndThenCallsWithWhatItTuned) {
  const TemporaryDirectory directory;
  const auto outcome = test::run_program({EXPERTILE_TUNE_EXAMPLE, directory.path(), "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr("100%, about 0 s left"));
  const auto lines = test::lines(outcome.out);
  ASSERT_EQ(lines.size(), 4U) << outcome.out;
  EXPECT_THAT(lines[0], StartsWith("down, batch size 1: "));
  EXPECT_THAT(lines[2], StartsWith("a call of batch size 1: exact, of " + directory.path().string()));
  EXPECT_THAT(lines[3], StartsWith("a call of batch size 4: exact, of " + directory.path().string()));
}

}  // namespace
}  // namespace expertile

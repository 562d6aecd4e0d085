// Measuring in processes that hang, crash or babble: what is decided is kept, what was in hand is refused.

#include "run/worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "report/worker_messages.hpp"
#include "support/run_program.hpp"

namespace expertile::run {
namespace {

using test::TemporaryDirectory;
using testing::HasSubstr;

TEST(WorkerMessages, ComeBackAsTheyWereSent) {
  WorkerJob job{.problem = 1, .batches = {1, 16}, .ceiling = Ceiling{1e12, 2e12}, .refused = {}};
  job.refused.push_back({TileConfig{8, 64, 128, 1, 4, 4, 2, 1, KernelFamily::sm80}, "it \"hung\""});
  const auto read_job = parse_worker_job(to_text(job));
  ASSERT_TRUE(read_job) << read_job.error().message;
  EXPECT_EQ(read_job->batches, job.batches);
  EXPECT_EQ(read_job->ceiling->flops_per_s, 2e12);
  EXPECT_EQ(read_job->refused.at(0).tile, job.refused[0].tile);
  EXPECT_EQ(read_job->refused.at(0).reason, job.refused[0].reason);

  WorkerMessage message{.kind = WorkerMessage::Kind::decided};
  message.result.batch = 16;
  message.result.tuned_us = 12.5;
  message.result.tile = job.refused[0].tile;
  message.result.ratio = 1.25;
  message.result.noise = 0.02;
  message.result.spread = 0.1;
  message.result.waited = 0.3;
  message.result.duel = {{4.5, 5.5}, {3.5}};
  message.result.evidence.push_back({job.refused[0].tile, true, {1.5, 2.5}, 2.0, 0.25, 3.0, ""});
  message.result.refusals["rule"] = 3;
  message.result.samples.push_back({{0, 2, 5}, {0, 1}});
  const auto read = parse_worker_message(to_text(message));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->result.tuned_us, 12.5);
  EXPECT_EQ(read->result.ratio, 1.25);
  EXPECT_EQ(read->result.noise, 0.02);
  EXPECT_EQ(read->result.spread, 0.1);
  EXPECT_EQ(read->result.waited, 0.3);
  EXPECT_EQ(read->result.duel.default_us, (std::vector<double>{4.5, 5.5}));
  EXPECT_EQ(read->result.duel.challenger_us, std::vector<double>{3.5});
  EXPECT_EQ(read->result.tile, message.result.tile);
  EXPECT_EQ(read->result.evidence.at(0).times_us, (std::vector<double>{1.5, 2.5}));
  EXPECT_EQ(read->result.evidence.at(0).skewed_us, 3.0);
  EXPECT_EQ(read->result.refusals.at("rule"), 3);
  EXPECT_EQ(read->result.samples.at(0).seg_indptr, (std::vector<std::int64_t>{0, 2, 5}));
}

TEST(WorkerMessages, NonsenseIsAnErrorAndNeverAnException) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"says": 1})", R"({"says": "nothing"})", R"({"says": "trying", "batch": 1})",
        R"({"says": "decided", "result": {}})", R"({"says": "failed", "code": "x", "message": 1})",
        R"({"says": "timed", "batch": 1, "best_us": 1, "tile": [1,2,3,4,5,6,7,8,"x"]})"}) {
    EXPECT_FALSE(parse_worker_message(text)) << text;
    EXPECT_FALSE(parse_worker_job(text)) << text;
  }
}

TEST(WorkerMessages, AJobOfAnotherFormatIsRefused) {
  const auto job = parse_worker_job(R"({"format": 7, "problem": 0, "batches": [1], "refused": []})");
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().message, "--worker has format 7, this program reads 1");
  const auto message = parse_worker_message(R"({"says": "nothing"})");
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().message, "a measuring process's line says 'nothing', which is not known");
}

// A measuring process made of shell: `first` runs as long as no tile is refused, `then` afterwards.
class TuneInWorkers : public ::testing::Test {
 protected:
  Status run(const std::string& first, const std::string& then) {
    const auto script = (directory_.path() / "worker.sh").string();
    std::ofstream(script) << "case \"$2\" in *'\"refused\":[]'*) " << first << ";; *) echo \"$2\" >> "
                          << directory_.path().string() << "/jobs; " << then << ";; esac\n";
    WorkerPlan plan{.program = {"/bin/sh", script}, .problem = 0, .batches = {4}, .most_silent_seconds = 1};
    TuneOptions options;
    options.decided = [this](const BatchResult& result) -> Status {
      decided_.push_back(result.batch);
      return {};
    };
    std::optional<Ceiling> ceiling;
    return tune_in_workers(plan, options, ceiling);
  }
  std::string jobs() const { return test::read_all(directory_.path() / "jobs"); }

  static std::string echo(const WorkerMessage& message) { return "echo '" + to_text(message) + "'"; }
  static WorkerMessage trying() {
    return {.kind = WorkerMessage::Kind::trying, .batch = 4, .tile = {8, 64, 128, 1, 4, 4, 2, 1, KernelFamily::sm80}};
  }
  static WorkerMessage decision() {
    WorkerMessage message{.kind = WorkerMessage::Kind::decided};
    message.result.batch = 4;
    return message;
  }

  TemporaryDirectory directory_;
  std::vector<std::int64_t> decided_;
};

TEST_F(TuneInWorkers, ATileThatCrashesIsRefusedAndTheRestGoesOn) {
  const auto status = run(echo(trying()) + "; kill -SEGV $$", echo(decision()));
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(decided_, std::vector<std::int64_t>{4});
  EXPECT_THAT(jobs(), HasSubstr("BLOCK_SIZE_M=8, BLOCK_SIZE_N=64"));
  EXPECT_THAT(jobs(), HasSubstr("was ended by signal 11"));
}

TEST_F(TuneInWorkers, ATileThatHangsIsRefusedAndTheRestGoesOn) {
  const auto status = run(echo(trying()) + "; exec sleep 100", echo(decision()));
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(decided_, std::vector<std::int64_t>{4});
  EXPECT_THAT(jobs(), HasSubstr("was silent for 1 s"));
}

TEST_F(TuneInWorkers, ATileThatPoisonsTheContextIsRefusedWithTheDriversWords) {
  const WorkerMessage failed{
      .kind = WorkerMessage::Kind::failed,
      .error = {ErrorCode::internal, "timing on the GPU failed: CUDA_ERROR_ILLEGAL_ADDRESS (700)"}};
  const auto status = run(echo(trying()) + "; " + echo(failed) + "; exit 1", echo(decision()));
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_THAT(jobs(), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
}

TEST_F(TuneInWorkers, WhatTheUserCanMendEndsTheRun) {
  const WorkerMessage failed{.kind = WorkerMessage::Kind::failed, .error = {ErrorCode::unsupported, "no memory"}};
  const auto status = run(echo(trying()) + "; " + echo(failed) + "; exit 2", echo(decision()));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "no memory");
}

TEST_F(TuneInWorkers, ADefaultThatCrashesAgainEndsTheRun) {
  const auto status = run(echo(trying()) + "; kill -SEGV $$", echo(trying()) + "; kill -SEGV $$");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("the built-in configuration BLOCK_SIZE_M=8"));
}

TEST_F(TuneInWorkers, WhoIsToldToStopStopsAfterTheBatchSizeInHand) {
  const auto script = (directory_.path() / "worker.sh").string();
  std::ofstream(script) << echo(decision()) << "; exec sleep 100\n";
  bool stop = false;
  TuneOptions options;
  options.is_stopped = [&] { return stop; };
  options.decided = [&](const BatchResult& result) -> Status {
    decided_.push_back(result.batch);
    stop = true;
    return {};
  };
  std::optional<Ceiling> ceiling;
  const auto status =
      tune_in_workers({.program = {"/bin/sh", script}, .problem = 0, .batches = {4, 8}}, options, ceiling);
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(decided_, std::vector<std::int64_t>{4});
}

TEST_F(TuneInWorkers, BabbleEndsTheRun) {
  const auto status = run("echo nonsense", "true");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("a measuring process's line"));
}

TEST(Tune, InAProcessOfItsOwnLeavesTheSameFiles) {
  const TemporaryDirectory directory;
  const auto outcome =
      test::run_program({EXPERTILE_CLI, "tune", "--isolate", "--device", "cpu", "--json", "--hidden-size", "64",
                         "--batch-size", "1,2", "--projection", "down", "--output-dir", directory.path()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto problem = nlohmann::json::parse(outcome.out)["problems"][0];
  EXPECT_EQ(problem["results"].size(), 2U);
  EXPECT_GT(problem["results"][1]["tuned_us"], 0.0);
  const auto path = std::filesystem::path(problem["file"].get<std::string>()).replace_extension(".report.json");
  const auto evidence = nlohmann::json::parse(test::read_all(path));
  EXPECT_GT(evidence["ceiling"]["gbps"], 0.0);
  EXPECT_FALSE(evidence["batches"]["2"]["candidates"].empty());
}

}  // namespace
}  // namespace expertile::run

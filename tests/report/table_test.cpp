#include "report/table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "report/json_report.hpp"
#include "report/unsteady.hpp"

namespace expertile {
namespace {

ProjectionReport small_report() {
  BatchResult result;
  result.batch = 16;
  result.rows = 32;
  result.default_us = 200;
  result.tuned_us = 100;
  result.ratio = 2;
  result.flops = 5e6;
  result.bytes = 1e6;
  result.ceiling_us = 50;
  result.tile = {.block_size_m = 8, .block_size_n = 16, .block_size_k = 256, .group_size_m = 4};
  CandidateEvidence timed, refused;
  timed.tile = result.tile;
  timed.times_us = {100, 101};
  timed.median_us = 100.5;
  refused.refused = "too large";
  result.evidence = {timed, refused};
  return {"down", Problem{.block_shape = BlockShape{128, 64}}, "/x/a.json", {{result, Match::exact}}};
}

TEST(AlignedText, PutsNumbersToTheRightAndLeavesNoSpacesAtTheEnd) {
  EXPECT_EQ(aligned_text({"name", "us", "why"}, {{"a", "1.5", "x"}, {"bcdef", "10.5"}}),
            "name     us  why\n"
            "a       1.5  x\n"
            "bcdef  10.5\n");
}

TEST(ResultsTable, ShowsRatioRatesAndTheShareOfTheCeiling) {
  EXPECT_EQ(results_table({small_report()}),
            "projection  batch  default us  tuned us  ratio  GFLOP/s  GB/s  ceiling  tile MxNxK group\n"
            "down           16       200.0     100.0  2.00x     50.0  10.0      50%  8x16x256 g4\n");
}

TEST(ResultsTable, NeverShowsAShareAboveTheCeilingAsIfItWereOne) {
  ProjectionReport report = small_report();
  report.results[0].result.ceiling_us = 963;
  EXPECT_EQ(results_table({report}),
            "projection  batch  default us  tuned us  ratio  GFLOP/s  GB/s  ceiling  tile MxNxK group\n"
            "down           16       200.0     100.0  2.00x     50.0  10.0  -        8x16x256 g4\n"
            "ceiling -: faster than the limits that were measured before, on a machine that was busy or for tensors "
            "that no cache holds\n");
  report.results[0].result.ceiling_us = 103;  // as good as the ceiling, which is measured to a few percent
  EXPECT_THAT(results_table({report}), testing::HasSubstr("100%"));
}

TEST(ResultsTable, SaysHowTilesWereFoundWhereOneIsNoExactMatch) {
  ProjectionReport report = small_report();
  report.results.push_back(report.results[0]);
  report.results[1].match = Match::other_top_k;
  report.results[1].differs = "tuned at top_k 2, this is 8";
  EXPECT_EQ(results_table({report}),
            "projection  batch  default us  tuned us  ratio  GFLOP/s  GB/s  ceiling  tile MxNxK group  match\n"
            "down           16       200.0     100.0  2.00x     50.0  10.0      50%       8x16x256 g4  exact\n"
            "down           16       200.0     100.0  2.00x     50.0  10.0      50%       8x16x256 g4  other_top_k: "
            "tuned at top_k 2, this is 8\n");
  const auto results = nlohmann::json::parse(problems_json({report}, true))["problems"][0]["results"];
  EXPECT_FALSE(results[0].contains("differs"));
  EXPECT_EQ(results[1]["match"], "other_top_k");
  EXPECT_EQ(results[1]["differs"], "tuned at top_k 2, this is 8");
}

TEST(SelectionsJson, SaysWhatDiffersWhereSomethingDoes) {
  ShownProjection shown{.projection = "down", .wanted = "/w.json"};
  shown.batches.push_back({1, 2, {.match = Match::exact, .batch = 1, .file = "/w.json"}});
  shown.batches.push_back(
      {2,
       4,
       {.match = Match::other_threads, .batch = 2, .file = "/w.json", .differs = "tuned at threads 4, this is 2"}});
  const auto results = nlohmann::json::parse(selections_json({shown}))["problems"][0]["results"];
  EXPECT_FALSE(results[0].contains("differs"));
  EXPECT_EQ(results[1]["differs"], "tuned at threads 4, this is 2");
}

TEST(UnsteadyWarning, SaysByHowMuchAndWhatFollows) {
  ProjectionReport report = small_report();
  EXPECT_EQ(unsteady_warning({report}), "");
  report.results.push_back(report.results[0]);
  report.results[1].result.spread = 0.35;
  EXPECT_EQ(
      unsteady_warning({report}),
      "the machine is busy: at 1 of 2 batch sizes timings vary by up to 35%; what is no faster than the default by "
      "more than its timings vary counts as no gain; run again on an idle machine");
  report.results[1].result.waited = 0.48;
  EXPECT_THAT(unsteady_warning({report}),
              testing::HasSubstr("vary by up to 35% and threads waited for a processor 48% of the time; what"));
  const auto document = nlohmann::json::parse(problems_json({report}, true));
  EXPECT_EQ(document["warning"], unsteady_warning({report}));
}

TEST(ProblemsJson, HasTheDocumentedKeysAndOnlyThose) {
  const auto document = nlohmann::ordered_json::parse(problems_json({small_report()}, true));
  EXPECT_EQ(
      document.dump(),
      R"({"problems":[{"projection":"down","experts":8,"n":4096,"k":4096,"dtype":"float16","block_shape":[128,64],)"
      R"("top_k":2,"scales":"block","activation":"silu","gated":true,"file":"/x/a.json","results":[{"batch":16,"rows":32.0,"default_us":200.0,"tuned_us":100.0,)"
      R"("ratio":2.0,"noise":0.0,"spread":0.0,"waited":0.0,"gflops":50.0,"gbps":10.0,"config":{"BLOCK_SIZE_M":8,"BLOCK_SIZE_N":16,"BLOCK_SIZE_K":256,)"
      R"("GROUP_SIZE_M":4,"num_warps":1,"num_stages":1,"kernel":"cpu"},"match":"exact"}]}]})");
}

TEST(EvidenceJson, KeepsEverySampleAndEveryReason) {
  const auto document = nlohmann::json::parse(evidence_json(small_report(), {2e9, 3e9}, {{"device", "d"}}));
  const auto& candidates = document["batches"]["16"]["candidates"];
  EXPECT_EQ(candidates[0]["times_us"], nlohmann::json({100.0, 101.0}));
  EXPECT_EQ(candidates[1]["refused"], "too large");
  EXPECT_EQ(document["ceiling"]["gbps"], 2.0);
  EXPECT_EQ(document["metadata"]["device"], "d");
}

TEST(EvidencePath, StandsBesideTheConfigurationFile) {
  EXPECT_EQ(evidence_path("/x/grouped_gemm_config_4096_float16.json"),
            "/x/grouped_gemm_config_4096_float16.report.json");
}

TEST(ProblemsJson, SurvivesANameThatIsNoUtf8) {
  ProjectionReport report = small_report();
  report.file = "/x/\xff.json";
  EXPECT_TRUE(nlohmann::json::accept(problems_json({report}, true)));
}

}  // namespace
}  // namespace expertile

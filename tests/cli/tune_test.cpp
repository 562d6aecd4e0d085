// The way of a user: tune, look, call; and what is left when the tuning is killed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "store/config_file.hpp"
#include "support/run_program.hpp"

namespace expertile {
namespace {

using test::Outcome;
using test::TemporaryDirectory;
using testing::EndsWith;
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
    EXPECT_TRUE(file->file.batches.empty()) << "one run made all";
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

TEST(Tune, AFileInTheWayIsRefusedBeforeTheWorkAndLeftAsItIs) {
  const TemporaryDirectory directory;
  const std::vector<std::string> tune = {"tune", "--quiet", "--batch-size", "1"};
  const Outcome named = run_cli(directory, {"tune", "--json", "--dry-run"});
  const auto problems = nlohmann::json::parse(named.out)["problems"];
  const std::filesystem::path path = problems[1]["file"].get<std::string>();  // of the second projection
  std::filesystem::create_directories(path.parent_path());
  const std::string start = "expertile: nothing was tuned, a file is in the way; move it away: " + path.string();
  const std::pair<std::string, std::string> files[] = {
      {"{\"1\": {", ": not valid JSON at line 1, column 8\n"},
      {R"({"metadata": {"schema": 2}})", ": schema 2 is newer than schema 1, the newest that this version reads\n"}};
  for (const auto& [text, reason] : files) {
    std::ofstream(path) << text;
    const Outcome outcome = run_cli(directory, tune);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.err, start + reason);
    EXPECT_EQ(test::read_all(path), text);
    EXPECT_EQ(test::files_below(directory.path()), std::vector{path});
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(problems[0]["file"].get<std::string>()).parent_path()))
        << "not a directory either";
  }
}

// A model of fp8 experts whose activations are scaled as the text says.
std::string fp8_model(const std::filesystem::path& directory, const std::string& quantisation) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "config.json")
      << R"({"model_type": "mixtral", "hidden_size": 64, "torch_dtype": "bfloat16", "num_local_experts": 4,
             "num_experts_per_tok": 2, "intermediate_size": 32, "quantization_config": )"
      << quantisation << "}";
  return directory;
}

Outcome run_model(const TemporaryDirectory& directory, const std::string& command, const std::string& model) {
  return test::run_program({EXPERTILE_CLI, command, "--json", "--model", model, "--batch-size", "1", "--projection",
                            "down", "--output-dir", directory.path() / "configs", "--device", "cpu"});
}

TEST(Tune, ProblemsThatDifferInScalesAloneHaveAFileEach) {
  const TemporaryDirectory directory;
  const std::string models[] = {
      fp8_model(directory.path() / "per_tensor", R"({"quant_method": "fp8", "activation_scheme": "static"})"),
      fp8_model(directory.path() / "per_token",
                R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "dynamic": false},
                    "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true}}}})")};
  std::vector<std::string> written;
  for (const std::string& model : models) {
    const Outcome tuned = run_model(directory, "tune", model);
    ASSERT_EQ(tuned.status, 0) << tuned.err;
    written.push_back(nlohmann::json::parse(tuned.out)["problems"][0]["file"].get<std::string>());
  }
  EXPECT_THAT(written[0], EndsWith("/E=4,N=64,K=32/grouped_gemm_config_64_fp8_w8a8.json"));
  EXPECT_THAT(written[1], EndsWith("/E=4,N=64,K=32,scales=per_token_channel/grouped_gemm_config_64_fp8_w8a8.json"));
  EXPECT_EQ(read_config(written[0])->file.metadata.at("scales"), "per_tensor");
  EXPECT_EQ(read_config(written[1])->file.metadata.at("scales"), "per_token_channel");
  for (int i = 0; i < 2; ++i) {
    const Outcome shown = run_model(directory, "show", models[i]);
    const auto result = nlohmann::json::parse(shown.out)["problems"][0]["results"][0];
    EXPECT_EQ(result["match"], "exact");
    EXPECT_EQ(result["file"], written[static_cast<std::size_t>(i)]);
  }
}

TEST(Show, SaysWhatATileWasTunedForWhereThatIsSomethingElse) {
  const TemporaryDirectory directory;
  const auto show = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"show", "--projection", "down", "--batch-size", "1,2", "--threads", "1"});
    return run_cli(directory, arguments);
  };
  const auto wanted = nlohmann::json::parse(show({"--json"}).out)["problems"][0]["wanted"].get<std::string>();
  ASSERT_TRUE(merge_into(wanted, {{1, TileConfig{8, 16, 64, 1, 1, 1}}}, {{"top_k", "2"}, {"scales", "none"}}));
  ASSERT_TRUE(merge_into(wanted, {{2, TileConfig{8, 16, 64, 1, 1, 1}}}, {{"top_k", "8"}, {"scales", "none"}}));
  const Outcome text = show({"--top-k", "8"});
  EXPECT_EQ(text.out,
            "down: E=8, N=64, K=32, float16, top_k 8\n"
            "looked for: " +
                wanted +
                "\n"
                "file: " +
                wanted +
                "\n"
                "to make it: expertile tune --hidden-size 64 --num-experts 8 --intermediate-size 32 --top-k 8 --dtype "
                "float16 --projection down --device cpu --threads 1 --output-dir " +
                directory.path().string() +
                "\n"
                "batch  match        tuned batch  configuration                                                     "
                "differs\n"
                "    1  other_top_k            1  BLOCK_SIZE_M=8, BLOCK_SIZE_N=16, BLOCK_SIZE_K=64, GROUP_SIZE_M=1  "
                "tuned at top_k 2, this is 8\n"
                "    2  exact                  2  BLOCK_SIZE_M=8, BLOCK_SIZE_N=16, BLOCK_SIZE_K=64, GROUP_SIZE_M=1\n"
                "\n");
  const auto results = nlohmann::json::parse(show({"--top-k", "8", "--json"}).out)["problems"][0]["results"];
  EXPECT_EQ(results[0]["match"], "other_top_k");
  EXPECT_EQ(results[0]["differs"], "tuned at top_k 2, this is 8");
  EXPECT_FALSE(results[1].contains("differs"));
  const Outcome bench = run_cli(
      directory, {"bench", "--json", "--projection", "down", "--batch-size", "1", "--top-k", "8", "--threads", "1"});
  const auto timed = nlohmann::json::parse(bench.out)["problems"][0]["results"][0];
  EXPECT_EQ(timed["match"], "other_top_k");
  EXPECT_EQ(timed["differs"], "tuned at top_k 2, this is 8");
}

}  // namespace
}  // namespace expertile

// What the command line accepts and refuses, through the real binary; nothing here times anything.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "backend/backend.hpp"
#include "support/run_program.hpp"

namespace expertile {
namespace {

using test::lines;
using test::Outcome;
using test::TemporaryDirectory;
using testing::EndsWith;
using testing::HasSubstr;

Outcome tune_dry(const TemporaryDirectory& directory, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {EXPERTILE_CLI, "tune", "--dry-run", "--output-dir", directory.path()});
  return test::run_program(arguments);
}

struct Refusal {
  std::vector<std::string> arguments;
  std::string message;
};

TEST(Options, EachWrongValueIsOneLineAndExitStatusTwo) {
  const std::string size_rule = "is not a size; give a whole number from 1 to 2147483648";
  const Refusal refusals[] = {
      {{"--hidden-size", "0"}, "--hidden-size '0' " + size_rule},
      {{"--hidden-size", "-5"}, "--hidden-size '-5' " + size_rule},
      {{"--hidden-size", "abc"}, "--hidden-size 'abc' " + size_rule},
      {{"--hidden-size", "12x"}, "--hidden-size '12x' " + size_rule},
      {{"--hidden-size", "99999999999999999999"}, "--hidden-size '99999999999999999999' " + size_rule},
      {{"--batch-size", "1,,2"}, "--batch-size '' " + size_rule},
      {{"--batch-size", "1,0"}, "--batch-size '0' " + size_rule},
      {{"--num-experts", "0"}, "--num-experts '0' " + size_rule},
      {{"--top-k", "-1"}, "--top-k '-1' " + size_rule},
      {{"--intermediate-size", "1.5"}, "--intermediate-size '1.5' " + size_rule},
      {{"--tp-size", "0"}, "--tp-size '0' " + size_rule},
      {{"--ep-size", "0"}, "--ep-size '0' " + size_rule},
      {{"--threads", "0"}, "--threads '0' is not a size; give a whole number from 1 to 4096"},
      {{"--seed", "-1"}, "--seed '-1' is not a seed; give a whole number from 0 to 18446744073709551615"},
      {{"--block-shape", "128"},
       "--block-shape '128' is not a block shape; give two whole numbers from 1 to 2147483648, e.g. 128,128"},
      {{"--dtype", "int3"},
       "--dtype 'int3' is not known; choose auto, float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or int8_w8a8"},
      {{"--dtype", "auto"},
       "--dtype 'auto' takes the model's dtype; give --model too, or float16, bfloat16, float32, fp8_w8a8, "
       "int8_w8a16 or int8_w8a8"},
      {{"--projection", "sideways"}, "--projection 'sideways' is not known; choose gate_up, down or both"},
      {{"--top-k", "9"}, "--top-k '9' is more than the 8 experts; give at most 8"},
      {{"--tp-size", "3"}, "--tp-size '3' does not divide the intermediate size 2048; give a divisor of 2048"},
      {{"--ep-size", "3"},
       "--ep-size '3' does not divide the 8 experts; give a divisor of 8, or, without --ep-size, "
       "--num-experts 3 of the rank with the most"},
      {{"--hidden-size", "1"},
       "--intermediate-size defaults to half of hidden size 1, which is 0; give --intermediate-size"},
      {{"--device", "gpu"}, "device 'gpu' is not known; choose auto, cpu or cuda[:I]"},
      {{"--device", "cuda:x"}, "device 'cuda:x' is not known; choose auto, cpu or cuda[:I]"},
      {{"--batch-size", "1", "8", "32"}, "--batch-size '1 8 32' is several arguments; a list takes commas: 1,8,32"},
      {{"--batch-size", "1,", "8,", "32", "--quiet"},
       "--batch-size '1, 8, 32' is several arguments; a list takes commas: 1,8,32"},
      {{"--batch-size", "1", "8", "x"},
       "argument '8' is not known; 'expertile --help' lists the subcommands, 'expertile tune --help' the options"},
      {{"--top-k", "2", "8"},
       "argument '8' is not known; 'expertile --help' lists the subcommands, 'expertile tune --help' the options"},
      {{"--frobnicate"},
       "option '--frobnicate' is not known; 'expertile --help' lists the subcommands, 'expertile tune --help' the "
       "options"},
  };
  for (const Refusal& refusal : refusals) {
    const TemporaryDirectory directory;
    const Outcome outcome = tune_dry(directory, refusal.arguments);
    EXPECT_EQ(outcome.status, 2) << refusal.message;
    EXPECT_EQ(outcome.err, "expertile: " + refusal.message + "\n");
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  }
}

TEST(Options, AnOptionWithoutItsValueAndAMissingSubcommandExitWithTwo) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{EXPERTILE_CLI}, {EXPERTILE_CLI, "tune", "--hidden-size"}, {EXPERTILE_CLI, "tunee"}}) {
    const Outcome outcome = test::run_program(arguments);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(lines(outcome.err).size(), 1U) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Options, HelpAndVersionExitWithZero) {
  const Outcome help = test::run_program({EXPERTILE_CLI, "tune", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("--block-shape"));
  EXPECT_EQ(help.err, "");
  const Outcome version = test::run_program({EXPERTILE_CLI, "--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, testing::StartsWith("expertile 0."));
}

TEST(Options, ADryRunNamesTheFilesToComeAndWritesNothing) {
  const TemporaryDirectory directory;
  const Outcome outcome = tune_dry(directory, {"--block-shape", "128,128"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto out = lines(outcome.out);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_THAT(out[0], testing::StartsWith("gate_up: " + directory.path().string()));
  EXPECT_THAT(out[0], EndsWith("/E=8,N=4096,K=4096/grouped_gemm_config_4096_float16_block128x128.json"));
  EXPECT_THAT(out[1], EndsWith("/E=8,N=4096,K=2048/grouped_gemm_config_4096_float16_block128x128.json"));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(Options, ADryRunAsJsonHasTheProblemsWithoutResults) {
  const TemporaryDirectory directory;
  const Outcome outcome = tune_dry(directory, {"--json", "--tp-size", "2", "--ep-size", "4", "--top-k", "3"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto document = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(document["problems"].size(), 2U);
  const auto& gate_up = document["problems"][0];
  EXPECT_EQ(gate_up["projection"], "gate_up");
  EXPECT_EQ(gate_up["experts"], 2);
  EXPECT_EQ(gate_up["n"], 2048);
  EXPECT_EQ(gate_up["k"], 4096);
  EXPECT_EQ(gate_up["dtype"], "float16");
  EXPECT_TRUE(gate_up["block_shape"].is_null());
  EXPECT_EQ(gate_up["top_k"], 2);
  EXPECT_FALSE(gate_up.contains("results"));
  EXPECT_EQ(document["problems"][1]["k"], 1024);
  EXPECT_THAT(outcome.err, HasSubstr("notice: top_k 3 is taken as 2: a rank of --ep-size 4 has 2 experts\n"));
}

// A block-quantised model, as small as its config.json can be.
std::string write_model(const TemporaryDirectory& directory) {
  std::ofstream(directory.path() / "config.json") << R"({
    "model_type": "deepseek_v3", "hidden_size": 512, "torch_dtype": "bfloat16", "n_routed_experts": 16,
    "num_experts_per_tok": 4, "moe_intermediate_size": 256, "intermediate_size": 1024,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                            "weight_block_size": [128, 128]}})";
  return directory.path();
}

TEST(Options, AModelsSizesAndQuantisationWinWithNotices) {
  const TemporaryDirectory model, directory;
  const Outcome outcome =
      tune_dry(directory, {"--json", "--model", write_model(model), "--hidden-size", "64", "--block-shape", "32,32"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto gate_up = nlohmann::json::parse(outcome.out)["problems"][0];
  EXPECT_EQ(gate_up["n"], 512);
  EXPECT_EQ(gate_up["k"], 512);
  EXPECT_EQ(gate_up["experts"], 16);
  EXPECT_EQ(gate_up["top_k"], 4);
  EXPECT_EQ(gate_up["dtype"], "fp8_w8a8");
  EXPECT_EQ(gate_up["block_shape"], nlohmann::json({128, 128}));
  EXPECT_THAT(outcome.err, HasSubstr("notice: --hidden-size 64 is ignored: the model's hidden size is 512\n"));
  EXPECT_THAT(outcome.err, HasSubstr("notice: --block-shape 32,32 is ignored: the model's own is 128,128\n"));
}

TEST(Options, AnExplicitDtypeWinsOverTheModelsWithANotice) {
  const TemporaryDirectory model, directory;
  const Outcome outcome = tune_dry(directory, {"--json", "--model", write_model(model), "--dtype", "bfloat16"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto gate_up = nlohmann::json::parse(outcome.out)["problems"][0];
  EXPECT_EQ(gate_up["dtype"], "bfloat16");
  EXPECT_TRUE(gate_up["block_shape"].is_null());
  EXPECT_THAT(outcome.err, HasSubstr("notice: the sizes are the model's, the scheme is --dtype bfloat16, not the "
                                     "checkpoint's, which is fp8 with weight_block_size [128, 128]\n"));
}

TEST(Options, ADirectoryThatCannotBeMadeIsRefusedBeforeTheWork) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / "file") << "in the way";
  const Outcome outcome = test::run_program(
      {EXPERTILE_CLI, "tune", "--quiet", "--hidden-size", "64", "--output-dir", directory.path() / "file"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(lines(outcome.err).size(), 1U) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("cannot be written: Not a directory; give another --output-dir"));
  EXPECT_EQ(test::read_all(directory.path() / "file"), "in the way");
}

TEST(Options, MoreThanTheMemoryIsRefused) {
  const TemporaryDirectory directory;
  const Outcome outcome =
      test::run_program({EXPERTILE_CLI, "tune", "--batch-size", "2147483648", "--output-dir", directory.path()});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, testing::StartsWith("expertile: --batch-size '2147483648' needs "));
  EXPECT_EQ(lines(outcome.err).size(), 1U);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(Options, ADryRunNamesFilesOfWhatNoMemoryHolds) {
  const TemporaryDirectory directory;
  const Outcome outcome = tune_dry(directory, {"--num-experts", "100000", "--batch-size", "2147483648"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(lines(outcome.out).size(), 2U) << outcome.out;
}

TEST(Info, NamesTheDeviceAndWhatIsMissing) {
  const Outcome text = test::run_program({EXPERTILE_CLI, "info", "--device", "cpu"});
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("device cpu: "));
  if (const auto gpu = open_backend("cuda"); !gpu) {
    EXPECT_THAT(text.out, HasSubstr("not available: " + gpu.error().message));
  }
  const Outcome json = test::run_program({EXPERTILE_CLI, "info", "--device", "cpu", "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["devices"][0]["kind"], "cpu");
}

}  // namespace
}  // namespace expertile

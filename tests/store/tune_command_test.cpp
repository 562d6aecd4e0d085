#include "store/tune_command.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <sstream>

#include "store/config_file.hpp"

namespace expertile {
namespace {

TEST(TuneCommand, MakesAGateUpProjection) {
  EXPECT_EQ(tune_command({.experts = 8, .n = 28672, .k = 4096, .dtype = DType::bfloat16, .top_k = 2}),
            "expertile tune --hidden-size 4096 --num-experts 8 --intermediate-size 14336 --top-k 2 --dtype bfloat16 "
            "--projection gate_up");
}

TEST(TuneCommand, MakesADownProjection) {
  EXPECT_EQ(tune_command({.experts = 8,
                          .n = 7168,
                          .k = 2048,
                          .dtype = DType::fp8_w8a8,
                          .block_shape = BlockShape{128, 64},
                          .top_k = 8,
                          .hidden_size = 7168}),
            "expertile tune --hidden-size 7168 --num-experts 8 --intermediate-size 2048 --top-k 8 --dtype fp8_w8a8 "
            "--block-shape 128,64 --projection down");
}

TEST(TuneCommand, MakesAFirstProductWithoutAGateWhereNIsOdd) {
  EXPECT_EQ(tune_command({.n = 7, .k = 5}),
            "expertile tune --hidden-size 5 --num-experts 8 --gated no --intermediate-size 7 --top-k 2 --dtype float16 "
            "--projection up");
}

TEST(TuneCommand, NamesTheExpertsOwnHiddenSizeWhereKIsNotTheModels) {
  EXPECT_EQ(tune_command({.n = 512, .k = 128, .hidden_size = 1024}),
            "expertile tune --hidden-size 1024 --expert-hidden-size 128 --num-experts 8 --intermediate-size 256 "
            "--top-k 2 --dtype float16 --projection gate_up");
  EXPECT_EQ(tune_command({.n = 513, .k = 128, .hidden_size = 1024}),
            "expertile tune --hidden-size 1024 --expert-hidden-size 128 --num-experts 8 --gated no "
            "--intermediate-size 513 --top-k 2 --dtype float16 --projection up");
}

TEST(TuneCommand, NamesScalesThatAreNotTheUsualOnes) {
  Problem problem{.n = 64, .k = 32, .dtype = DType::fp8_w8a8, .scales = Scales::per_tensor};
  EXPECT_EQ(tune_command(problem),
            "expertile tune --hidden-size 32 --num-experts 8 --intermediate-size 32 --top-k 2 --dtype fp8_w8a8 "
            "--projection gate_up");
  problem.scales = Scales::per_token_channel;
  EXPECT_EQ(tune_command(problem),
            "expertile tune --hidden-size 32 --num-experts 8 --intermediate-size 32 --top-k 2 --dtype fp8_w8a8 "
            "--scales per_token_channel --projection gate_up");
}

TEST(TuneCommand, SaysWhenThereIsNone) {
  EXPECT_EQ(tune_command({.experts = 1, .top_k = 2}),
            "(no command makes this file: top_k 2 is larger than the number of experts 1)");
}

// What follows --projection.
std::string target_options(const TuneTarget& target) {
  const std::string command = tune_command({.n = 64, .k = 32}, target);
  const std::string last = "--projection gate_up";
  return command.substr(command.find(last) + last.size());
}

TEST(TuneCommand, NamesTheDeviceAndTheThreadsThatTheProgramNamed) {
  EXPECT_EQ(target_options({}), "");
  EXPECT_EQ(target_options({.device = "cuda:1"}), " --device cuda:1");
  EXPECT_EQ(target_options({.device = "cpu", .threads = 3}), " --device cpu --threads 3");
}

TEST(TuneCommand, NamesADirectoryThatIsNotTheDefaultAsAShellReadsIt) {
  ::unsetenv("EXPERTILE_CONFIG_DIR");
  EXPECT_EQ(target_options({.config_dir = config_directory("")}), "");
  EXPECT_EQ(target_options({.config_dir = "/tmp/x-1.y_2,=:"}), " --output-dir /tmp/x-1.y_2,=:");
  EXPECT_EQ(target_options({.config_dir = "/my dir"}), " --output-dir '/my dir'");
  EXPECT_EQ(target_options({.config_dir = "/it's $HOME"}), " --output-dir '/it'\\''s $HOME'");
  EXPECT_EQ(target_options({.config_dir = "/a;b"}), " --output-dir '/a;b'");
  EXPECT_EQ(target_options({.config_dir = "here"}),
            " --output-dir " + (std::filesystem::current_path() / "here").string());
  ::setenv("EXPERTILE_CONFIG_DIR", "/variable", 1);
  EXPECT_EQ(target_options({.config_dir = "/variable"}), " --output-dir /variable")
      << "another shell may not have the variable";
  ::unsetenv("EXPERTILE_CONFIG_DIR");
}

// The command's options by name, without quotes: of these problems no word needs any.
std::map<std::string, std::string> options_of(const std::string& command) {
  std::istringstream words(command);
  std::string program, subcommand;
  words >> program >> subcommand;
  EXPECT_EQ(program + ' ' + subcommand, "expertile tune");
  std::map<std::string, std::string> options;
  for (std::string option, value; words >> option;) {
    EXPECT_TRUE(option.starts_with("--")) << command;
    if (option != "--tf32") words >> value;
    EXPECT_TRUE(options.emplace(option, option == "--tf32" ? "yes" : value).second) << command;
  }
  return options;
}

// N and K as `tune --help` and docs/tuning.md say what these options make.
std::pair<std::int64_t, std::int64_t> shape_of(std::map<std::string, std::string> options) {
  const std::int64_t width = std::stoll(options.at("--intermediate-size"));
  const std::int64_t model = std::stoll(options.at("--hidden-size"));
  const std::int64_t hidden =
      options.contains("--expert-hidden-size") ? std::stoll(options.at("--expert-hidden-size")) : model;
  const std::string projection = options.at("--projection");
  EXPECT_EQ(projection == "up", options.contains("--gated"));
  if (projection == "down") return {hidden, width};
  return {projection == "gate_up" ? 2 * width : width, hidden};
}

TEST(TuneCommand, OfAnyShapeMakesThatShape) {
  std::mt19937_64 random(23);
  const auto below = [&](std::uint64_t end) { return static_cast<std::int64_t>(random() % end); };
  for (int i = 0; i < 2000; ++i) {
    Problem problem{.experts = 1 + below(9), .n = 1 + below(12), .k = 1 + below(12)};
    problem.top_k = 1 + below(static_cast<std::uint64_t>(problem.experts));
    problem.hidden_size = below(13);
    const std::string command = tune_command(problem);
    const auto options = options_of(command);
    ASSERT_EQ(shape_of(options), (std::pair{problem.n, problem.k})) << command;
    ASSERT_EQ(options.at("--hidden-size"), std::to_string(hidden_size_of(problem))) << command;
    ASSERT_EQ(options.at("--num-experts"), std::to_string(problem.experts)) << command;
    ASSERT_EQ(options.at("--top-k"), std::to_string(problem.top_k)) << command;
  }
}

}  // namespace
}  // namespace expertile

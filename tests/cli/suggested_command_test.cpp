// The command that a log line suggests makes exactly the file that was looked for.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "store/config_file.hpp"
#include "store/tune_command.hpp"
#include "support/run_program.hpp"

namespace expertile {
namespace {

const Problem kProblems[] = {
    {.experts = 8, .n = 28672, .k = 4096, .dtype = DType::bfloat16, .top_k = 2},
    {.experts = 4, .n = 64, .k = 96, .dtype = DType::float32, .top_k = 1, .hidden_size = 64, .tf32 = true},
    {.experts = 16, .n = 2688, .k = 1024, .dtype = DType::fp8_w8a8, .top_k = 6, .hidden_size = 4096},
    {.experts = 16, .n = 1024, .k = 2688, .dtype = DType::fp8_w8a8, .top_k = 6, .hidden_size = 4096},
    {.experts = 3, .n = 7, .k = 5, .top_k = 3},
    {.experts = 3, .n = 7, .k = 7, .top_k = 3},
    {.experts = 8, .n = 512, .k = 256, .dtype = DType::fp8_w8a8, .scales = Scales::per_token_channel, .top_k = 2},
    {.experts = 8, .n = 512, .k = 256, .dtype = DType::fp8_w8a8, .block_shape = BlockShape{128, 128}, .top_k = 2},
    {.experts = 8,
     .n = 256,
     .k = 384,
     .dtype = DType::int8_w8a16,
     .block_shape = BlockShape{1, 128},
     .hidden_size = 256},
    {.experts = 8, .n = 256, .k = 384, .dtype = DType::int8_w8a8, .hidden_size = 256},
    {.experts = 8, .n = 512, .k = 256, .dtype = DType::bfloat16, .block_shape = BlockShape{64, 32}, .top_k = 8},
};

TEST(SuggestedCommand, MakesExactlyTheFileThatWasLookedFor) {
  const test::TemporaryDirectory directory;
  const std::filesystem::path config_dir = directory.path() / "a folder, it's $HERE";
  for (const Problem& problem : kProblems) {
    ASSERT_TRUE(validate(problem));
    const std::string command = tune_command(problem, {.config_dir = config_dir, .device = "cpu", .threads = 2});
    ASSERT_TRUE(command.starts_with("expertile tune ")) << command;
    const std::string line = "'" EXPERTILE_CLI "'" + command.substr(9) + " --dry-run --json";
    const test::Outcome outcome = test::run_program({"/bin/sh", "-c", line});
    ASSERT_EQ(outcome.status, 0) << line << "\n" << outcome.err;
    const auto problems = nlohmann::json::parse(outcome.out)["problems"];
    ASSERT_EQ(problems.size(), 1U) << line;
    const std::filesystem::path file = problems[0]["file"].get<std::string>();
    const std::string device = file.parent_path().parent_path().filename();
    EXPECT_EQ(file, config_path(config_dir, device, problem)) << line;
    EXPECT_EQ(problems[0]["top_k"], problem.top_k) << line;
  }
}

}  // namespace
}  // namespace expertile

// Where the tool that measures in a process of its own is looked for.

#include "run/tool.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "support/run_program.hpp"

namespace expertile::run {
namespace {

namespace fs = std::filesystem;

void make_program(const fs::path& path, fs::perms perms = fs::perms::owner_all) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "#!/bin/sh\n";
  fs::permissions(path, perms);
}

TEST(ToolNear, IsFoundWhereInstallationsAndBuildsPutIt) {
  for (const char* place : {"lib/expertile", "lib/bin/expertile", "bin/expertile", "expertile"}) {
    const test::TemporaryDirectory directory;
    fs::create_directories(directory.path() / "lib/x86_64-linux-gnu");
    EXPECT_FALSE(tool_near(directory.path() / "lib"));
    make_program(directory.path() / place);
    EXPECT_EQ(tool_near(directory.path() / "lib"), directory.path() / place);
  }
  const test::TemporaryDirectory directory;
  make_program(directory.path() / "bin/expertile");
  fs::create_directories(directory.path() / "lib/x86_64-linux-gnu");
  EXPECT_EQ(tool_near(directory.path() / "lib/x86_64-linux-gnu"), directory.path() / "bin/expertile");
}

TEST(ToolNear, IsAProgramAndNoFolderOrText) {
  const test::TemporaryDirectory directory;
  fs::create_directories(directory.path() / "expertile");
  EXPECT_FALSE(tool_near(directory.path()));
  make_program(directory.path() / "bin/expertile", fs::perms::owner_read);
  if (access((directory.path() / "bin/expertile").c_str(), X_OK) == 0) GTEST_SKIP() << "this file system runs all";
  EXPECT_FALSE(tool_near(directory.path()));
}

TEST(FindTool, TakesAnAbsolutePathOfAProgramAndItsArguments) {
  const std::vector<std::string> given = {EXPERTILE_CLI, "first"};
  const auto found = find_tool(given);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, given);
  for (const char* path : {"/nonexistent/expertile", "expertile", ""}) {
    const auto missing = find_tool({path});
    ASSERT_FALSE(missing);
    EXPECT_EQ(exit_status(missing.error()), 2);
    EXPECT_EQ(missing.error().message,
              "worker program '" + std::string(path) + "' is not there; give the absolute path of the expertile tool");
  }
}

TEST(FindTool, FindsTheToolOfThisBuildByItself) {
  const auto found = find_tool({});
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->size(), 1U);
  EXPECT_TRUE(fs::equivalent(found->at(0), EXPERTILE_CLI));
}

}  // namespace
}  // namespace expertile::run

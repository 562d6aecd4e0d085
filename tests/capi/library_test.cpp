// libexpertile.so and the example in C, as their users have them.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "files/files.hpp"
#include "support/run_program.hpp"

namespace expertile::testing {
namespace {

// Read off the headers' text: the word before the first '(' of each declaration.
std::set<std::string> declared_functions() {
  const std::string header = read_text(EXPERTILE_SOURCE_DIR "/include/expertile/expertile.h", 1 << 20).value() +
                             read_text(EXPERTILE_SOURCE_DIR "/include/expertile/moe_layer.h", 1 << 20).value();
  const std::string mark = "\nEXPERTILE_API ";
  std::set<std::string> names;
  for (auto at = header.find(mark); at != std::string::npos; at = header.find(mark, at + 1)) {
    const auto end = header.find('(', at);
    const auto begin = header.find_last_of(" *", end) + 1;
    names.insert(header.substr(begin, end - begin));
  }
  return names;
}

TEST(SharedLibrary, ExportsTheFunctionsOfTheHeaderAndNothingElse) {
  const test::Outcome outcome = test::run_program({"/bin/sh", "-c", "nm -D --defined-only '" EXPERTILE_SHARED "'"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::set<std::string> exported;
  for (const std::string& line : test::lines(outcome.out)) exported.insert(line.substr(line.rfind(' ') + 1));
  EXPECT_EQ(exported, declared_functions());
  EXPECT_GT(exported.size(), 20U);
}

TEST(SharedLibrary, IsKnownByItsMajorVersion) {
  const test::Outcome outcome = test::run_program({"/bin/sh", "-c", "objdump -p '" EXPERTILE_SHARED "'"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find(" libexpertile.so.0\n"), std::string::npos) << outcome.out;
}

TEST(ExampleInC, PrintsTheProductsThatItsCommentPromises) {
  const test::TemporaryDirectory directory;
  const test::Outcome outcome =
      test::run_program({EXPERTILE_EXAMPLE_C, "cpu"},
                        {"EXPERTILE_CONFIG_DIR=" + directory.path().string(), "XDG_DATA_DIRS=/nonexistent"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto lines = test::lines(outcome.out);
  ASSERT_EQ(lines.size(), 6U) << outcome.out;
  EXPECT_EQ(lines[0], "C[0] = 32 ... 32");
  EXPECT_EQ(lines[1], "C[1] = 64 ... 64");
  EXPECT_EQ(lines[2], "C[2] = 288 ... 288");
  EXPECT_EQ(lines[3], "C[3] = 384 ... 384");
  EXPECT_EQ(lines[4], "C[4] = 480 ... 480");
  EXPECT_NE(lines[5].find(", built_in: BLOCK_SIZE_M="), std::string::npos) << lines[5];
}

TEST(ExampleInC, SaysWhyThereIsNoSuchDevice) {
  const test::Outcome outcome = test::run_program({EXPERTILE_EXAMPLE_C, "tpu"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "device: device 'tpu' is not known; choose auto, cpu or cuda[:I]\n");
}

}  // namespace
}  // namespace expertile::testing

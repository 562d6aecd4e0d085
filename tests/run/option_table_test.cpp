// Every option by its name, for programs as for the command line.

#include "run/option_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/run_program.hpp"

namespace expertile::run {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Command kCommands[] = {Command::tune, Command::bench, Command::show, Command::info};

std::string with_underscores(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

std::string refusal(Command command, std::string_view name, std::string_view value = "") {
  TextOptions text;
  const auto status = set_option(text, command, name, value);
  if (status) return "no refusal";
  EXPECT_EQ(exit_status(status.error()), 2);
  return status.error().message;
}

TEST(SetOption, SetsEveryOptionOfEveryCommandByItsName) {
  for (const OptionRow& row : option_table()) {
    for (const Command command : kCommands) {
      for (const std::string& written : {std::string(row.name), with_underscores(row.name)}) {
        TextOptions text;
        const auto set = set_option(text, command, written, "1");
        ASSERT_EQ(set.has_value(), row.belongs_to(command)) << written << " of " << name(command);
        if (!set) continue;
        if (const auto* flag = std::get_if<OptionRow::Flag>(&row.member)) {
          EXPECT_TRUE(text.*(*flag)) << written;
          EXPECT_THAT(arguments_of(text, command), ElementsAre("--" + std::string(row.name)));
        } else {
          EXPECT_EQ(text.*std::get<OptionRow::Text>(row.member), "1") << written;
          EXPECT_THAT(arguments_of(text, command), ElementsAre("--" + std::string(row.name) + "=1"));
        }
      }
    }
  }
}

TEST(SetOption, TakesTheWordsOfAFlag) {
  for (const char* value : {"true", "yes", "1", ""}) {
    TextOptions text;
    ASSERT_TRUE(set_option(text, Command::tune, "tf32", value));
    EXPECT_TRUE(text.tf32) << value;
  }
  for (const char* value : {"false", "no", "0"}) {
    TextOptions text;
    ASSERT_TRUE(set_option(text, Command::tune, "tf32", value));
    EXPECT_FALSE(text.tf32) << value;
  }
  EXPECT_EQ(refusal(Command::tune, "dry_run", "maybe"),
            "--dry-run 'maybe' is not known; choose true, yes, 1, false, no or 0");
}

TEST(SetOption, NamesTheOneThatWasMeant) {
  EXPECT_EQ(refusal(Command::tune, "hiden_size"), "option 'hiden_size' is not known; did you mean hidden-size?");
  EXPECT_EQ(refusal(Command::tune, "topk"), "option 'topk' is not known; did you mean top-k?");
  EXPECT_EQ(refusal(Command::tune, "batch"), "option 'batch' is not known; did you mean batch-size?");
  EXPECT_EQ(refusal(Command::tune, "--dtype"), "option '--dtype' is not known; did you mean dtype?");
  EXPECT_EQ(refusal(Command::tune, "worker"),
            "option 'worker' is not known; choose model, hidden-size, dtype, batch-size, block-shape, scales, tf32, "
            "num-experts, top-k, intermediate-size, expert-hidden-size, activation, gated, tp-size, ep-size, "
            "projection, routing, seed, device, threads, output-dir, json, quiet, no-tune, isolate or dry-run");
  EXPECT_EQ(refusal(Command::info, ""), "option '' is not known; choose device, threads, output-dir, json or quiet");
}

TEST(SetOption, SaysWhoseAnOptionIs) {
  EXPECT_EQ(refusal(Command::tune, "eager"), "option 'eager' is not one of tune; it is one of bench");
  EXPECT_EQ(refusal(Command::info, "top_k", "2"),
            "option 'top-k' is not one of info; it is one of tune, bench and show");
}

TEST(SetOption, RefusesASecondValue) {
  TextOptions text;
  ASSERT_TRUE(set_option(text, Command::tune, "hidden-size", "64"));
  const auto status = set_option(text, Command::tune, "hidden_size", "128");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "--hidden-size is given twice: '64' and '128'; give one");
  EXPECT_EQ(text.hidden_size, "64");
}

TEST(OptionTable, IsWhatTheCommandLinesHelpLists) {
  for (const Command command : kCommands) {
    const auto help = test::run_program({EXPERTILE_CLI, std::string(name(command)), "--help"});
    ASSERT_EQ(help.status, 0);
    for (const OptionRow& row : option_table()) {
      const bool is_listed = help.out.find("--" + std::string(row.name) + " ") != std::string::npos;
      EXPECT_EQ(is_listed, row.belongs_to(command)) << row.name << " of " << name(command);
    }
  }
}

}  // namespace
}  // namespace expertile::run

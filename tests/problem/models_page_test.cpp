// docs/models.md has the code's own tables: what configurations say under which names, and what each scheme becomes.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "files/files.hpp"
#include "problem/model/names.hpp"
#include "problem/quantisation/quantisation.hpp"

namespace expertile {
namespace {

const std::string kPage = std::string(EXPERTILE_SOURCE_DIR) + "/docs/models.md";

std::string names_table() {
  std::string table =
      "| what is read | fields, the first that is there; two must agree | where | option |\n|---|---|---|---|\n";
  for (const model::Meaning* one : model::meanings()) {
    table +=
        fmt::format("| {} | `{}` | {} | `{}` |\n", one->what, fmt::join(one->fields, "`, `"), one->where, one->option);
  }
  return table;
}

std::string schemes_table() {
  std::string table = "| format | what it says of the experts | becomes |\n|---|---|---|\n";
  for (const SchemeRow& row : scheme_rows()) {
    table += fmt::format("| `{}` | {} | {}{} |\n", row.format, row.said, row.becomes,
                         row.note.empty() ? "" : fmt::format(" ({})", row.note));
  }
  return table;
}

// The page with what stands between two marks replaced.
std::string with_table(const std::string& page, const std::string& mark, const std::string& table) {
  const std::string begin = fmt::format("<!-- {}: made from the code -->\n", mark);
  const std::string end = fmt::format("<!-- end of {} -->\n", mark);
  const auto from = page.find(begin);
  const auto to = page.find(end);
  if (from == std::string::npos || to == std::string::npos) return "no marks of " + mark;
  return page.substr(0, from + begin.size()) + table + page.substr(to);
}

TEST(ModelsPage, HasTheTablesOfTheCode) {
  const std::string page = read_text(kPage, 1 << 20).value();
  const std::string right = with_table(with_table(page, "names", names_table()), "schemes", schemes_table());
  if (!environment("EXPERTILE_WRITE_DOCS").empty()) std::ofstream(kPage) << right;
  EXPECT_EQ(page, right) << "EXPERTILE_WRITE_DOCS=1 writes the page anew";
}

}  // namespace
}  // namespace expertile

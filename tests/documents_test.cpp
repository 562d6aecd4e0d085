// What the documents promise, and how long sources may be, read off the files themselves.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostColumns = 120;
constexpr std::size_t kMostLines = 400;

// Files of the checkout that end so; what is built or hidden is no part of it.
std::vector<fs::path> files_that_end(std::initializer_list<std::string_view> endings) {
  std::vector<fs::path> found;
  for (auto entry = fs::recursive_directory_iterator(EXPERTILE_SOURCE_DIR); entry != fs::recursive_directory_iterator();
       ++entry) {
    const std::string name = entry->path().filename();
    if (entry->is_directory() && (name.starts_with('.') || name.starts_with("build")))
      entry.disable_recursion_pending();
    const auto fits = [&](std::string_view ending) { return entry->path().extension() == ending; };
    if (entry->is_regular_file() && std::any_of(endings.begin(), endings.end(), fits)) found.push_back(entry->path());
  }
  return found;
}

std::vector<fs::path> documents() { return files_that_end({".md"}); }
std::vector<fs::path> sources() { return files_that_end({".cpp", ".hpp", ".cxx", ".c", ".h", ".py", ".sh"}); }

std::string below_the_checkout(const fs::path& file) { return fs::relative(file, EXPERTILE_SOURCE_DIR); }

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

std::size_t columns_of(std::string_view line) {
  return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;  // the first byte of a character
  }));
}

bool is_row_of_a_table(std::string_view line) {
  const auto first = line.find_first_not_of(' ');
  return first != std::string_view::npos && line[first] == '|';
}

// Lines of a document that are text, not code.
std::vector<std::string> text_lines(const fs::path& document) {
  std::vector<std::string> lines;
  bool is_code = false;
  for (const std::string& line : lines_of(document)) {
    if (line.find("```") == line.find_first_not_of(' ') && line.find("```") != std::string::npos) {
      is_code = !is_code;
    } else if (!is_code) {
      lines.push_back(line);
    }
  }
  return lines;
}

// "../bench/NOTES.md#split-k", of each [words](place) and ![words](place) of a document.
std::vector<std::string> links_of(const fs::path& document) {
  std::vector<std::string> links;
  for (const std::string& line : text_lines(document)) {
    for (auto at = line.find("]("); at != std::string::npos; at = line.find("](", at + 1)) {
      links.push_back(line.substr(at + 2, line.find(')', at) - at - 2));
    }
  }
  return links;
}

// "src/plan/candidates.cpp", of each such `name` in a document's text; patterns are none.
std::vector<std::string> paths_of(const fs::path& document) {
  std::vector<std::string> paths;
  const std::set<std::string> folders = {"bench",   "configs", "docs", "examples", "include",
                                         "kernels", "scripts", "src",  "tests"};
  for (const std::string& line : text_lines(document)) {
    std::istringstream parts(line);
    bool is_code = false;  // every other part of a line lies between backticks
    for (std::string part; std::getline(parts, part, '`'); is_code = !is_code) {
      const bool is_path = part.find('/') != std::string::npos && part.find_first_of(" <>*{}()=$") == std::string::npos;
      if (is_code && is_path && folders.count(part.substr(0, part.find('/'))) > 0) paths.push_back(part);
    }
  }
  return paths;
}

// A heading's name in links: "## Split K" -> "split-k".
std::string name_of(std::string_view heading) {
  std::string name;
  heading.remove_prefix(heading.find_first_not_of("# "));
  for (const char letter : heading) {
    const auto one = static_cast<unsigned char>(letter);
    if (std::isalnum(one) != 0 || letter == '-' || letter == '_') name += static_cast<char>(std::tolower(one));
    if (letter == ' ') name += '-';
  }
  return name;
}

std::set<std::string> headings_of(const fs::path& document) {
  std::set<std::string> names;
  for (const std::string& line : text_lines(document)) {
    if (line.starts_with('#')) names.insert(name_of(line));
  }
  return names;
}

// The name that begins at a place of a text: letters, digits and '_'.
std::string word_at(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_')) ++end;
  return std::string(text.substr(begin, end - begin));
}

void add_words_behind(std::string_view text, std::string_view before, std::set<std::string>& words) {
  for (auto at = text.find(before); at != std::string_view::npos; at = text.find(before, at + 1)) {
    const std::string word = word_at(text, at + before.size());
    if (!word.empty()) words.insert(word);
  }
}

// Variables of the environment that a source reads or sets.
std::set<std::string> variables_of(const fs::path& source) {
  std::set<std::string> variables;
  const std::string text = text_of(source);
  if (source.extension() == ".sh") {
    add_words_behind(text, "export ", variables);
    for (const std::string prefix : {"EXPERTILE_", "GTEST_"}) {
      std::set<std::string> rests;
      add_words_behind(text, prefix, rests);
      for (const std::string& rest : rests) variables.insert(prefix + rest);
    }
    return variables;
  }
  for (const char* call : {"environment(\"", "getenv(\"", "setenv(\"", "os.environ.get(\"", "os.environ[\"",
                           "os.environ.setdefault(\"", "os.environ.pop(\"", "os.environ | {\""}) {
    add_words_behind(text, call, variables);
  }
  return variables;
}

TEST(Documents, NoLineIsWiderThanAScreenTablesAside) {
  ASSERT_GT(documents().size(), 5U);
  for (const fs::path& document : documents()) {
    const std::vector<std::string> lines = lines_of(document);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (is_row_of_a_table(lines[i])) continue;
      EXPECT_LE(columns_of(lines[i]), kMostColumns) << below_the_checkout(document) << ", line " << i + 1;
    }
  }
}

TEST(Documents, EveryLinkIntoTheCheckoutLeadsToAFileAndAHeading) {
  std::size_t checked = 0;
  for (const fs::path& document : documents()) {
    for (const std::string& link : links_of(document)) {
      if (link.find("://") != std::string::npos) continue;
      ++checked;
      const std::string place = link.substr(0, link.find('#'));
      const fs::path file = place.empty() ? document : document.parent_path() / place;
      EXPECT_TRUE(fs::exists(file)) << below_the_checkout(document) << " links to " << link;
      if (link.find('#') == std::string::npos || !fs::is_regular_file(file)) continue;
      const std::string heading = link.substr(link.find('#') + 1);
      EXPECT_EQ(headings_of(file).count(heading), 1U) << below_the_checkout(document) << " links to " << link;
    }
  }
  EXPECT_GT(checked, 50U);
}

TEST(Documents, EveryPathThatIsNamedIsThere) {
  std::size_t checked = 0;
  for (const fs::path& document : documents()) {
    for (const std::string& path : paths_of(document)) {
      ++checked;
      EXPECT_TRUE(fs::exists(fs::path(EXPERTILE_SOURCE_DIR) / path))
          << below_the_checkout(document) << " names " << path;
    }
  }
  EXPECT_GT(checked, 20U);
}

TEST(Documents, ThePageOfTheApiForCHasTheExampleAsItIs) {
  const fs::path root = EXPERTILE_SOURCE_DIR;
  const std::string example = text_of(root / "examples/grouped_gemm.c");
  ASSERT_GT(example.size(), 1000U);
  EXPECT_LE(lines_of(root / "examples/grouped_gemm.c").size(), 100U);
  EXPECT_NE(text_of(root / "docs/c-api.md").find("```c\n" + example + "```\n"), std::string::npos)
      << "docs/c-api.md does not have examples/grouped_gemm.c as it is";
}

TEST(Documents, EveryEnvironmentVariableIsExplained) {
  const std::string explained = text_of(fs::path(EXPERTILE_SOURCE_DIR) / "docs/environment.md");
  std::set<std::string> known;
  for (const fs::path& source : sources()) {
    if (source.filename() == fs::path(__FILE__).filename()) continue;
    for (const std::string& variable : variables_of(source)) {
      known.insert(variable);
      EXPECT_NE(explained.find("`" + variable + "`"), std::string::npos)
          << below_the_checkout(source) << ": " << variable << " is not in docs/environment.md";
    }
  }
  EXPECT_GT(known.size(), 15U);
}

TEST(Documents, NoEnvironmentVariableIsExplainedThatNobodyReads) {
  std::set<std::string> rests;
  add_words_behind(text_of(fs::path(EXPERTILE_SOURCE_DIR) / "docs/environment.md"), "`EXPERTILE_", rests);
  std::string all = text_of(fs::path(EXPERTILE_SOURCE_DIR) / "CMakeLists.txt");
  for (const fs::path& source : sources()) all += text_of(source);
  ASSERT_GT(rests.size(), 3U);
  for (const std::string& rest : rests) EXPECT_NE(all.find("EXPERTILE_" + rest), std::string::npos) << rest;
}

TEST(Sources, NoneIsLongerThan400Lines) {
  ASSERT_GT(sources().size(), 100U);
  for (const fs::path& source : sources()) EXPECT_LE(lines_of(source).size(), kMostLines) << below_the_checkout(source);
}

}  // namespace

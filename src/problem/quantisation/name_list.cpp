#include "problem/quantisation/name_list.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace expertile::quantisation {
namespace {

constexpr std::string_view kRegexMark = "re:";

bool has_glob_characters(std::string_view entry) { return entry.find_first_of("*?[") != std::string_view::npos; }
bool has_regex_characters(std::string_view entry) {
  return entry.find_first_of("*?[(|^$\\+") != std::string_view::npos;
}

// Where each component of a dotted name begins, and one past its end.
std::vector<std::size_t> component_starts(std::string_view name) {
  std::vector<std::size_t> starts = {0};
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '.') starts.push_back(i + 1);
  }
  starts.push_back(name.size() + 1);
  return starts;
}

}  // namespace

bool has_below(const std::vector<std::string>& sorted, std::string_view module) {
  const std::string prefix = fmt::format("{}.", module);
  const auto found = std::ranges::lower_bound(sorted, prefix);
  return found != sorted.end() && found->starts_with(prefix);
}

Result<NameList> NameList::read(const std::vector<std::string>& entries, NameRules rules, const std::string& where) {
  NameList list(rules);
  for (const std::string& entry : entries) {
    if (auto status = list.add(entry, where); !status) return fail(status.error());
    if (list.globs_.size() + list.regexes_.size() + list.bounded_.size() > kMostPatterns) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} has more than {} patterns, the most that are read", where, kMostPatterns));
    }
  }
  if (rules.children) {
    list.sorted_.assign(list.names_.begin(), list.names_.end());
    std::ranges::sort(list.sorted_);
  }
  return list;
}

Status NameList::add(const std::string& entry, const std::string& where) {
  const std::string_view text = entry;
  const bool marked = text.starts_with(kRegexMark);
  // A regular expression cannot begin with *: who wrote that meant a glob.
  const bool regex = rules_.entries == Entries::regexes && has_regex_characters(text) && !text.starts_with('*');
  if (marked || regex) {
    auto compiled = Regex::compile(marked ? text.substr(kRegexMark.size()) : text, where, Anchor::start);
    if (!compiled) return fail(compiled.error());
    (rules_.entries == Entries::regexes ? bounded_ : regexes_).push_back(std::move(*compiled));
    return {};
  }
  if (rules_.entries != Entries::names && has_glob_characters(text)) {
    auto compiled = Glob::compile(text, where);
    if (!compiled) return fail(compiled.error());
    globs_.push_back(std::move(*compiled));
    return {};
  }
  const std::size_t first = text.find_first_not_of('.');
  if (first != std::string_view::npos) names_.emplace(text.substr(first, text.find_last_not_of('.') - first + 1));
  return {};
}

bool NameList::names(std::string_view module) const {
  if (names_.empty()) return false;
  if (names_.find(module) != names_.end()) return true;
  if (!rules_.suffix && !rules_.components) return false;
  const auto starts = component_starts(module);
  const std::size_t last = starts.size() - 1;
  for (std::size_t from = 0; from < last; ++from) {
    for (std::size_t to = rules_.components ? from + 1 : last; to <= last; ++to) {
      const auto part = module.substr(starts[from], starts[to] - 1 - starts[from]);
      if (names_.find(part) != names_.end()) return true;
    }
  }
  return false;
}

bool NameList::names_child(std::string_view module) const { return !sorted_.empty() && has_below(sorted_, module); }

Result<bool> NameList::has_any(const std::vector<std::string>& spellings, Budget& budget) const {
  for (const std::string& name : spellings) {
    if (names(name)) return true;
  }
  for (const Glob& glob : globs_) {
    for (const std::string& name : spellings) {
      const auto found = glob.matches(name, budget);
      if (!found || *found) return found;
    }
  }
  for (const auto* list : {&regexes_, &bounded_}) {
    for (const Regex& regex : *list) {
      for (const std::string& name : spellings) {
        const auto found = regex.matches(name, budget, list == &bounded_);
        if (!found || *found) return found;
      }
    }
  }
  return false;
}

Result<bool> NameList::has_module(const ExpertLayer& layer, Budget& budget) const {
  for (const std::string& module : layer.modules) {
    if (names_child(module)) return true;
  }
  return has_any(layer.modules, budget);
}

Result<Coverage> NameList::coverage(const ExpertLayer& layer, Budget& budget) const {
  Coverage covered;
  const auto whole = has_module(layer, budget);
  if (!whole) return fail(whole.error());
  if (*whole) {
    covered.projections.fill(true);
    return covered;
  }
  // A file writes one of the two forms: a pattern for the first may match the second by accident.
  for (const auto* form : {&layer.projections, &layer.whole}) {
    if (covered.any()) break;
    for (std::size_t i = 0; i < kProjections; ++i) {
      const auto found = has_any((*form)[i], budget);
      if (!found) return fail(found.error());
      covered.projections[i] = *found;
    }
  }
  return covered;
}

}  // namespace expertile::quantisation

#include "store/conditions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "files/json_text.hpp"

namespace expertile {
namespace {

// As it is where it is a word of some length; else escaped and shortened, so that it breaks no line.
std::string shown_text(const std::string& text) {
  constexpr std::size_t kLongest = 40;
  const bool plain = text.size() <= kLongest && std::all_of(text.begin(), text.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == ':';
                     });
  return plain ? text : shown(text);
}

}  // namespace

std::vector<Condition> conditions_of(const Problem& problem, const DeviceInfo& device) {
  const int workers = device.is_gpu() ? device.gpu().multiprocessors : device.cpu().threads;
  return {{"isa", isa_name(device), Match::other_instructions, "isa"},
          {"scales", std::string(name(scales_of(problem))), Match::other_scales, "scales"},
          {"threads", std::to_string(workers), Match::other_threads, device.is_gpu() ? "multiprocessors" : "threads"},
          {"top_k", std::to_string(problem.top_k), Match::other_top_k, "top_k"}};
}

Difference difference(const Metadata& said, const std::vector<Condition>& conditions) {
  Difference found;
  for (const Condition& condition : conditions) {
    const auto value = said.find(std::string(condition.key));
    if (value == said.end() || value->second == condition.value) continue;
    found.match = std::max(found.match, condition.otherwise);
    found.text += fmt::format("{}tuned at {} {}, this is {}", found.text.empty() ? "" : "; ", condition.word,
                              shown_text(value->second), condition.value);
  }
  return found;
}

}  // namespace expertile

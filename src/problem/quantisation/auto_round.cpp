// Intel AutoRound (and inc): one scheme, exceptions by name or pattern in extra_config, and blocks to keep to.

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "problem/quantisation/formats.hpp"
#include "problem/quantisation/grouped.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "auto-round";

struct Scheme {
  Grouped grouped;
  std::string data_type = "int";
  std::optional<BlockShape> block{};  // a group_size of two
};

Result<Scheme> read_scheme(const Section& section, Scheme scheme) {
  const auto type = section.text("data_type");
  if (!type) return fail(type.error());
  if (!type->empty()) scheme.data_type = lower(*type);
  const Json* size = section.find("group_size");
  const bool pair = size != nullptr && size->is_array();
  if (pair) {
    const auto block = section.block("group_size");
    if (!block) return fail(block.error());
    scheme.block = *block;
  }
  if (auto status = read_grouped(section, scheme.grouped, !pair); !status) return fail(status.error());
  return scheme;
}

Answer answer_of_scheme(const Scheme& scheme, std::string_view method) {
  if (scheme.data_type == "int" || scheme.grouped.bits >= kUnquantisedBits) {
    return answer_of_grouped(scheme.grouped, kFormat, method);
  }
  const std::string words = fmt::format("{} {} {} bit", method, scheme.data_type, scheme.grouped.bits);
  const bool fp8 = scheme.data_type == "fp" || scheme.data_type == "fp8";
  if (!fp8 || scheme.grouped.bits != 8 || !scheme.block) return refused(words);
  return answer_by_row(kFormat, "data_type fp, 8 bit, group_size [n, k]", words, scheme.block);
}

// Exceptions that have one answer.
struct Exceptions {
  Answer answer;
  NameList names;
};

class AutoRound : public Format {
 public:
  AutoRound(Answer usual, std::vector<Exceptions> exceptions, std::vector<std::string> blocks, const Source& source)
      : usual_(std::move(usual)),
        exceptions_(std::move(exceptions)),
        blocks_(std::move(blocks)),
        method_(source.method),
        budget_(source.budget) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    if (!in_blocks(layer)) return left_alone(method_);
    std::optional<Answer> chosen;
    for (const Exceptions& exceptions : exceptions_) {
      const auto covered = exceptions.names.coverage(layer, *budget_);
      if (!covered) return fail(covered.error());
      if (!covered->any()) continue;
      if (chosen) return refused(fmt::format("{} with entries of extra_config that disagree on the experts", method_));
      chosen = exceptions.answer;
    }
    return chosen ? *chosen : usual_;
  }

 private:
  // No blocks are all blocks.
  [[nodiscard]] bool in_blocks(const ExpertLayer& layer) const {
    if (blocks_.empty()) return true;
    return std::ranges::any_of(layer.modules, [&](const std::string& module) {
      return std::ranges::any_of(blocks_, [&](const std::string& block) { return module.starts_with(block); });
    });
  }

  Answer usual_;
  std::vector<Exceptions> exceptions_;
  std::vector<std::string> blocks_;
  std::string method_;
  Budget* budget_;
};

constexpr std::size_t kMostAnswers = 64;
constexpr std::size_t kMostBlocks = 64;

// A key with a pattern's characters is looked for anywhere in a name.
std::string entry_of(const std::string& key) {
  const bool pattern = key.find_first_of("*?[(|^$\\+") != std::string::npos;
  return pattern ? fmt::format("re:.*(?:{})", key) : key;
}

Result<std::vector<Exceptions>> read_exceptions(const Section& section, const Scheme& usual,
                                                const std::string& method) {
  std::vector<Exceptions> exceptions;
  const auto extra = section.object("extra_config");
  if (!extra) return fail(extra.error());
  if (!*extra) return exceptions;
  std::vector<std::pair<Answer, std::vector<std::string>>> keys;
  for (const auto& [key, value] : (*extra)->json().items()) {
    const auto entry = (*extra)->object(key);
    if (!entry) return fail(entry.error());
    if (!*entry) continue;
    const auto scheme = read_scheme(**entry, usual);
    if (!scheme) return fail(scheme.error());
    const Answer answer = answer_of_scheme(*scheme, method);
    auto found = std::ranges::find(keys, answer, &std::pair<Answer, std::vector<std::string>>::first);
    if (found == keys.end()) found = keys.emplace(keys.end(), answer, std::vector<std::string>());
    found->second.push_back(entry_of(key));
    if (keys.size() > kMostAnswers) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} has more than {} schemes, the most that are read", (*extra)->where(), kMostAnswers));
    }
  }
  for (auto& [answer, entries] : keys) {
    auto names = NameList::read(entries, {.suffix = true, .children = true}, (*extra)->where());
    if (!names) return fail(names.error());
    exceptions.push_back({answer, std::move(*names)});
  }
  return exceptions;
}

// A list, or one text with commas.
Result<std::vector<std::string>> read_blocks(const Section& section) {
  constexpr std::string_view kKey = "block_name_to_quantize";
  std::vector<std::string> blocks;
  const Json* value = section.find(kKey);
  if (value == nullptr) return blocks;
  if (value->is_array()) {
    auto names = section.names(kKey);
    if (!names) return names;
    blocks = std::move(*names);
  } else {
    const auto text = section.text(kKey);
    if (!text) return fail(text.error());
    for (std::size_t at = 0; at < text->size();) {
      const std::size_t end = std::min(text->find(',', at), text->size());
      if (end > at) blocks.push_back(text->substr(at, end - at));
      at = end + 1;
    }
  }
  if (blocks.size() > kMostBlocks) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} has more than {} names, the most that are read", section.where(kKey), kMostBlocks));
  }
  return blocks;
}

}  // namespace

FormatResult read_auto_round(const Source& source) {
  const auto scheme = read_scheme(source.section, {});
  if (!scheme) return fail(scheme.error());
  auto exceptions = read_exceptions(source.section, *scheme, source.method);
  if (!exceptions) return fail(exceptions.error());
  auto blocks = read_blocks(source.section);
  if (!blocks) return fail(blocks.error());
  return std::make_unique<AutoRound>(answer_of_scheme(*scheme, source.method), std::move(*exceptions),
                                     std::move(*blocks), source);
}

}  // namespace expertile::quantisation

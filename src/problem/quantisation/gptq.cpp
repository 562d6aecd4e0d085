// GPTQ, and the exceptions by pattern that GPTQModel adds.

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

// GPTQModel's exceptions: {"-:PATTERN": {}} is not quantised, {"+:PATTERN": {...}} or {"PATTERN": ...} is otherwise.
struct Exception {
  NameList names;
  bool quantised = true;
  Grouped grouped;
};

class Gptq : public Format {
 public:
  Gptq(Grouped grouped, std::vector<Exception> exceptions, const Source& source)
      : grouped_(grouped),
        exceptions_(std::move(exceptions)),
        method_(source.method),
        projections_(source.projections),
        budget_(source.budget) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    std::optional<Answer> chosen;
    for (const Exception& exception : exceptions_) {
      const auto covered = exception.names.coverage(layer, *budget_);
      if (!covered) return fail(covered.error());
      if (!covered->any()) continue;
      if (!covered->all()) return half_covered(method_, *covered, projections_);
      Answer answer = exception.quantised ? answer_of_grouped(exception.grouped, "gptq", method_) : left_alone(method_);
      if (chosen && *chosen != answer) {
        return refused(fmt::format("{} with patterns of dynamic that disagree on the experts", method_));
      }
      chosen = std::move(answer);
    }
    return chosen ? *chosen : answer_of_grouped(grouped_, "gptq", method_);
  }

 private:
  Grouped grouped_;
  std::vector<Exception> exceptions_;
  std::string method_;
  std::array<std::string_view, kProjections> projections_;
  Budget* budget_;
};

Result<std::vector<Exception>> read_exceptions(const Section& section, const Grouped& usual) {
  std::vector<Exception> exceptions;
  const auto dynamic = section.object("dynamic");
  if (!dynamic) return fail(dynamic.error());
  if (!*dynamic) return exceptions;
  const std::string where = (*dynamic)->where();
  for (const auto& [key, value] : (*dynamic)->json().items()) {
    if (exceptions.size() >= kMostPatterns) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} has more than {} patterns, the most that are read", where, kMostPatterns));
    }
    const bool marked = key.starts_with("-:") || key.starts_with("+:");
    auto names = NameList::read({"re:" + key.substr(marked ? 2 : 0)}, {}, where);
    if (!names) return fail(names.error());
    Exception exception{std::move(*names), !key.starts_with("-:"), usual};
    if (exception.quantised && value.is_object()) {
      if (auto status = read_grouped(Section(value, where), exception.grouped); !status) return fail(status.error());
    }
    exceptions.push_back(std::move(exception));
  }
  return exceptions;
}

// A list of lists of modules inside a block, or of modules; other modules stay as they are.
bool leaves_out_experts(const Json* blocks) {
  if (blocks == nullptr || !blocks->is_array() || blocks->empty()) return false;
  const auto names_experts = [](const Json& entry) {
    return entry.is_string() && entry.get_ref<const std::string&>().find("experts") != std::string::npos;
  };
  return std::ranges::none_of(*blocks, [&](const Json& entry) {
    return entry.is_array() ? std::ranges::any_of(entry, names_experts) : names_experts(entry);
  });
}

}  // namespace

FormatResult read_gptq(const Source& source) {
  Grouped grouped;
  if (auto status = read_grouped(source.section, grouped); !status) return fail(status.error());
  if (leaves_out_experts(source.section.find("modules_in_block_to_quantize"))) {
    return constant(left_alone(source.method));
  }
  auto exceptions = read_exceptions(source.section, grouped);
  if (!exceptions) return fail(exceptions.error());
  return std::make_unique<Gptq>(grouped, std::move(*exceptions), source);
}

}  // namespace expertile::quantisation

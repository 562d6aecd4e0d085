// AWQ: its list has parts of names, found anywhere in the experts' module.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "problem/quantisation/formats.hpp"

namespace expertile::quantisation {
namespace {

class Awq : public Format {
 public:
  Awq(Answer quantised, std::vector<std::string> skipped, std::string where, const Source& source)
      : quantised_(std::move(quantised)),
        skipped_(std::move(skipped)),
        where_(std::move(where)),
        method_(source.method),
        budget_(source.budget) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    // The head that the file has is not known: the first is the usual one, and parts of names seldom reach it.
    const std::string& module = layer.modules.front();
    for (const std::string& part : skipped_) {
      if (!budget_->spend(kStepsAnEntry)) {
        return fail(ErrorCode::invalid_argument, fmt::format("{} has too many names to look for", where_));
      }
      if (!part.empty() && module.find(part) != std::string::npos) return left_alone(method_);
    }
    return quantised_;
  }

 private:
  static constexpr std::int64_t kStepsAnEntry = 10;

  Answer quantised_;
  std::vector<std::string> skipped_;
  std::string where_;
  std::string method_;
  Budget* budget_;
};

}  // namespace

FormatResult read_awq(const Source& source) {
  const Section& section = source.section;
  auto bits = section.whole("bits");
  if (!bits) return fail(bits.error());
  if (!*bits) bits = section.whole("w_bit");
  if (!bits) return fail(bits.error());
  auto names = section.names("modules_to_not_convert");
  if (!names) return fail(names.error());
  return std::make_unique<Awq>(refused(fmt::format("{} {} bit", source.method, bits->value_or(4))), std::move(*names),
                               section.where("modules_to_not_convert"), source);
}

}  // namespace expertile::quantisation

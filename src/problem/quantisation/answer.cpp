#include "problem/quantisation/answer.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace expertile::quantisation {
namespace {

class Constant : public Format {
 public:
  explicit Constant(Answer answer) : answer_(std::move(answer)) {}
  Result<Answer> answer(const ExpertLayer&) override { return answer_; }

 private:
  Answer answer_;
};

}  // namespace

Answer silent() { return {}; }

Answer left_alone(std::string words) { return {.kind = Answer::Kind::left_alone, .words = std::move(words)}; }

Answer refused(std::string words, std::string_view note) {
  return {.kind = Answer::Kind::refused, .words = std::move(words), .note = std::string(note)};
}

Answer answer_of(const SchemeRow& row, std::string words, std::optional<BlockShape> block) {
  if (row.outcome == Outcome::refused) return refused(std::move(words), row.note);
  return {.kind = Answer::Kind::scheme, .words = std::move(words), .scheme = scheme_of(row.outcome, block)};
}

Answer answer_by_row(std::string_view format, std::string_view said, std::string words,
                     std::optional<BlockShape> block) {
  const SchemeRow* row = find_scheme(format, said);
  return row == nullptr ? refused(std::move(words)) : answer_of(*row, std::move(words), block);
}

Answer half_covered(std::string_view format, const Coverage& covered,
                    const std::array<std::string_view, kProjections>& projections) {
  std::vector<std::string_view> left;
  std::vector<std::string_view> quantised;
  for (std::size_t i = 0; i < kProjections; ++i) {
    auto& side = covered.projections[i] ? left : quantised;
    // Experts without a gate have up twice.
    if (side.empty() || side.back() != projections[i]) side.push_back(projections[i]);
  }
  return refused(fmt::format("{} with {} left alone and {} quantised", format, fmt::join(left, " and "),
                             fmt::join(quantised, " and ")));
}

std::unique_ptr<Format> constant(Answer answer) { return std::make_unique<Constant>(std::move(answer)); }

}  // namespace expertile::quantisation

// fp8 as DeepSeek, Qwen and AutoFP8 write it, and the methods that have its lists of modules: one scheme for the whole
// model, but for what is listed.

#include <fmt/format.h>

#include <utility>

#include "problem/quantisation/formats.hpp"

namespace expertile::quantisation {
namespace {

// Experts that are listed, or have one listed, stay as they are.
class OneScheme : public Format {
 public:
  OneScheme(Answer quantised, NameList skipped, std::string method, Budget* budget)
      : quantised_(std::move(quantised)), skipped_(std::move(skipped)), method_(std::move(method)), budget_(budget) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    const auto skips = skipped_.has_module(layer, *budget_);
    if (!skips) return fail(skips.error());
    return *skips ? left_alone(method_) : quantised_;
  }

 private:
  Answer quantised_;
  NameList skipped_;
  std::string method_;
  Budget* budget_;
};

// The first list that names anything.
Result<NameList> skipped_modules(const Section& section) {
  constexpr NameRules kRules{.entries = Entries::regexes, .components = true, .children = true};
  for (const char* key : {"ignored_layers", "modules_to_not_convert", "ignore", "exclude"}) {
    const auto names = section.names(key);
    if (!names) return fail(names.error());
    if (!names->empty()) return NameList::read(*names, kRules, section.where(key));
  }
  return NameList::read({}, kRules, section.where());
}

FormatResult one_scheme(const Source& source, Answer quantised) {
  auto skipped = skipped_modules(source.section);
  if (!skipped) return fail(skipped.error());
  return std::make_unique<OneScheme>(std::move(quantised), std::move(*skipped), source.method, source.budget);
}

Answer by_row(const Source& source, std::string_view said, std::string words, std::optional<BlockShape> block = {}) {
  return answer_by_row(source.method, said, std::move(words), block);
}

// Whether the scales of activations lie in the checkpoint.
Result<bool> has_static_inputs(const Section& section) {
  const auto scheme = section.text("activation_scheme");
  if (!scheme) return fail(scheme.error());
  if (*scheme == "static") return true;
  if (scheme->empty() || *scheme == "dynamic") return false;
  return section.refuse("activation_scheme", "static or dynamic");
}

constexpr std::string_view kDynamicTensor =
    "activation_scheme is dynamic without weight_block_size: one scale for all activations is taken; give --scales "
    "per_token_channel for an engine that makes one a token";

constexpr BlockShape kMicroscaling{1, 32};

Answer fp8_answer(const Source& source, std::optional<BlockShape> block, bool static_inputs) {
  if (!block) {
    Answer answer = by_row(source, "no weight_block_size", source.method);
    answer.static_inputs = static_inputs;
    if (!static_inputs) answer.notice = kDynamicTensor;
    return answer;
  }
  const std::string words = fmt::format("{} with weight_block_size [{}, {}]", source.method, block->n, block->k);
  if (*block == kMicroscaling) return by_row(source, "weight_block_size [1, 32]", words);
  if (!static_inputs) return by_row(source, "weight_block_size [n, k]", words, block);
  return by_row(source, "weight_block_size [n, k], activation_scheme static", words + " and activation_scheme static");
}

}  // namespace

FormatResult read_fp8(const Source& source) {
  const Section& section = source.section;
  if (source.method == "mxfp8") return one_scheme(source, by_row(source, "", source.method));
  const auto format = section.text("fmt");
  if (!format) return fail(format.error());
  const auto block = section.block("weight_block_size");
  if (!block) return fail(block.error());
  const auto static_inputs = has_static_inputs(section);
  if (!static_inputs) return fail(static_inputs.error());
  // Without a format it is e4m3: no checkpoint of the other one is known.
  if (!format->empty() && lower(*format).find("e4m3") == std::string::npos) {
    return one_scheme(source, refused(fmt::format("{} fmt {}", source.method, *format)));
  }
  return one_scheme(source, fp8_answer(source, *block, *static_inputs));
}

FormatResult read_eight_bit(const Source& source) {
  if (source.method != "blockwise_int8") return one_scheme(source, by_row(source, "", source.method));
  const auto block = source.section.block("weight_block_size");
  if (!block) return fail(block.error());
  if (!*block) return source.section.refuse("weight_block_size", "two whole numbers from 1");
  const std::string words = fmt::format("blockwise_int8 with weight_block_size [{}, {}]", (*block)->n, (*block)->k);
  return one_scheme(source, by_row(source, "weight_block_size [n, k]", words, *block));
}

}  // namespace expertile::quantisation

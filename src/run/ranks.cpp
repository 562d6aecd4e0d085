// What one rank of a layer has: --tp-size divides the experts' width, --ep-size their number.

#include <fmt/format.h>

#include "run/layer.hpp"
#include "run/option_values.hpp"

namespace expertile::run {
namespace {

struct Ranks {
  std::int64_t tp = 1;
  std::int64_t ep = 1;
};

Result<Ranks> parse_ranks(const TextOptions& text) {
  const auto tp = parse_optional_size("--tp-size", text.tp_size);
  if (!tp) return fail(tp.error());
  const auto ep = parse_optional_size("--ep-size", text.ep_size);
  if (!ep) return fail(ep.error());
  return Ranks{tp->value_or(1), ep->value_or(1)};
}

Status check_division(const Layer& layer, const Ranks& ranks) {
  if (layer.intermediate % ranks.tp != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--tp-size '{}' does not divide the intermediate size {}; give a divisor of {}", ranks.tp,
                            layer.intermediate, layer.intermediate));
  }
  if (layer.experts % ranks.ep != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--ep-size '{}' does not divide the {} experts; give a divisor of {}, or, without "
                            "--ep-size, --num-experts {} of the rank with the most",
                            ranks.ep, layer.experts, layer.experts, ceil_div(layer.experts, ranks.ep)));
  }
  return {};
}

// A rank's scales are whole blocks of the checkpoint's: gate, up and down are each split along the width.
Status check_blocks(const Layer& layer, const Ranks& ranks) {
  if (ranks.tp == 1 || !layer.block_shape) return {};
  const std::int64_t width = layer.intermediate / ranks.tp;
  for (const std::int64_t block : {layer.block_shape->n, layer.block_shape->k}) {
    if (width % block == 0) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("--tp-size '{}' leaves a rank {} of an expert's {} columns, which is no multiple of the "
                            "quantisation block {}: the scales cannot be split so; give --ep-size instead",
                            ranks.tp, width, layer.intermediate, block));
  }
  return {};
}

// What the same two words mean elsewhere: SGLang divides --tp-size ranks into --ep-size groups, vLLM gives all of them
// to the experts.
std::string meaning_of_both(const Layer& layer, const Ranks& ranks) {
  const std::int64_t wide = layer.activation.is_gated ? 2 * layer.intermediate : layer.intermediate;
  const auto sizes = [](std::int64_t experts, std::int64_t n) { return fmt::format("E={}, N={}", experts, n); };
  std::string text =
      fmt::format("--tp-size {} and --ep-size {}: a rank has 1/{} of the experts and 1/{} of their width ({})",
                  ranks.tp, ranks.ep, ranks.ep, ranks.tp, sizes(layer.experts / ranks.ep, wide / ranks.tp));
  if (ranks.tp % ranks.ep == 0) {
    const std::int64_t parts = ranks.tp / ranks.ep;  // of the width
    text += fmt::format("; SGLang means by the same options 1/{} of the experts{} ({})", ranks.ep,
                        parts == 1 ? " at their whole width" : fmt::format(" and 1/{} of their width", parts),
                        sizes(layer.experts / ranks.ep, wide / parts));
  }
  if (layer.experts % ranks.tp == 0) {
    text += fmt::format(
        "; vLLM's --tensor-parallel-size {} with --enable-expert-parallel means 1/{} of the experts at "
        "their whole width ({})",
        ranks.tp, ranks.tp, sizes(layer.experts / ranks.tp, wide));
  }
  return text;
}

}  // namespace

Result<Layer> share_of_a_rank(const Layer& layer, const TextOptions& text, std::vector<std::string>& notices) {
  const auto ranks = parse_ranks(text);
  if (!ranks) return fail(ranks.error());
  if (auto status = check_division(layer, *ranks); !status) return fail(status.error());
  if (auto status = check_blocks(layer, *ranks); !status) return fail(status.error());
  if (ranks->tp > 1 && ranks->ep > 1) notices.push_back(meaning_of_both(layer, *ranks));
  Layer share = layer;
  share.intermediate /= ranks->tp;
  share.experts /= ranks->ep;
  if (share.top_k > share.experts) {
    notices.push_back(fmt::format("top_k {} is taken as {}: a rank of --ep-size {} has {} experts", share.top_k,
                                  share.experts, ranks->ep, share.experts));
    share.top_k = share.experts;
  }
  return share;
}

}  // namespace expertile::run

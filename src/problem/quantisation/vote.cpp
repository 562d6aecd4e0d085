#include "problem/quantisation/vote.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "expertile/problem.hpp"
#include "problem/quantisation/patterns.hpp"

namespace expertile::quantisation {
namespace {

constexpr std::string_view kHelp = "give --dtype (and --block-shape) to tune the sizes with another scheme";
constexpr std::size_t kMostShownLayers = 3;
constexpr std::size_t kMostWords = 160;

struct Tally {
  Answer answer;
  std::vector<std::int64_t> layers;
};

// The most frequent answer first.
std::vector<Tally> count(const LayerAnswers& answers) {
  std::vector<Tally> tallies;
  for (const auto& [layer, answer] : answers) {
    auto found = std::ranges::find(tallies, answer, &Tally::answer);
    if (found == tallies.end()) found = tallies.insert(found, {answer, {}});
    found->layers.push_back(layer);
  }
  std::ranges::stable_sort(tallies, std::greater<>(), [](const Tally& tally) { return tally.layers.size(); });
  return tallies;
}

// Names may come from outside: escaped, and cut.
std::string scheme_words(const Answer& answer) {
  if (answer.kind == Answer::Kind::left_alone) return "none";
  const std::string text = in_quotes(answer.words, kMostWords);
  return text.substr(1, text.size() - 2);
}

std::string layers_text(std::size_t layers, std::size_t of, bool counted) {
  const std::string_view plural = (counted ? of : layers) == 1 ? "" : "s";
  if (!counted) return fmt::format("{} layer{}", layers, plural);
  return fmt::format("{} of {} layer{} with experts", layers, of, plural);
}

std::string numbers_text(const std::vector<std::int64_t>& layers) {
  const auto last = layers.begin() + static_cast<std::ptrdiff_t>(std::min(layers.size(), kMostShownLayers));
  const std::string text = fmt::format("{}", fmt::join(layers.begin(), last, ", "));
  return layers.size() > kMostShownLayers ? text + ", ..." : text;
}

std::string minority_notice(const Tally& tally, std::size_t of, bool counted, std::string_view origin) {
  const std::string layers =
      fmt::format("{}: {} ({})", origin, layers_text(tally.layers.size(), of, counted), numbers_text(tally.layers));
  const bool one = tally.layers.size() == 1;
  if (tally.answer.kind == Answer::Kind::left_alone) {
    return fmt::format("{} {} left in the model's own dtype, the scheme of the others is taken", layers,
                       one ? "is" : "are");
  }
  return fmt::format("{} {} quantised as {}, the scheme of the others is taken", layers, one ? "is" : "are",
                     scheme_words(tally.answer));
}

tl::unexpected<Error> refuse_mixture(const std::vector<Tally>& tallies, std::size_t of, std::string_view origin) {
  const auto part = [&](const Tally& tally) {
    return fmt::format("'{}' in {} of {}", scheme_words(tally.answer), tally.layers.size(), of);
  };
  return fail(ErrorCode::unsupported, fmt::format("{}: the experts' quantisation scheme is {} layers and {}; {}",
                                                  origin, part(tallies[0]), part(tallies[1]), kHelp));
}

// The kernels have the last word.
bool kernels_have(const ExpertScheme& scheme) {
  Problem problem;
  problem.dtype = scheme.dtype;
  problem.scales = scheme.scales;
  problem.block_shape = scheme.block_shape;
  return validate(problem).has_value();
}

Result<Quantisation> take(const Answer& answer, std::string_view method, std::string_view origin) {
  if (answer.kind == Answer::Kind::refused) return refuse_scheme(answer.words, answer.note, origin);
  Quantisation taken;
  if (answer.kind != Answer::Kind::scheme) {
    taken.words = method;
    taken.notices.push_back(fmt::format("{}: {} leaves the experts in the model's own dtype", origin, method));
    return taken;
  }
  if (!kernels_have(answer.scheme)) return refuse_scheme(answer.words, "no kernel has its scales", origin);
  taken.scheme = answer.scheme;
  taken.words = answer.words;
  taken.static_inputs = answer.static_inputs;
  if (!answer.notice.empty()) taken.notices.push_back(fmt::format("{}: {}", origin, answer.notice));
  return taken;
}

}  // namespace

tl::unexpected<Error> refuse_scheme(std::string_view words, std::string_view note, std::string_view origin) {
  const std::string of_what = note.empty() ? std::string() : fmt::format(" ({})", note);
  return fail(ErrorCode::unsupported, fmt::format("{}: quantisation scheme {}{} is not supported; {}", origin,
                                                  in_quotes(words, kMostWords), of_what, kHelp));
}

Result<Quantisation> decide(const LayerAnswers& answers, bool counted, std::string_view method,
                            std::string_view origin) {
  LayerAnswers spoken = answers;
  std::erase_if(spoken, [](const auto& entry) { return entry.second.kind == Answer::Kind::silent; });
  if (spoken.empty()) return take(silent(), method, origin);
  const auto tallies = count(spoken);
  const std::size_t of = spoken.size();
  if (tallies[0].layers.size() * 4 < of * 3) return refuse_mixture(tallies, of, origin);
  auto taken = take(tallies[0].answer, method, origin);
  if (!taken) return taken;
  for (std::size_t i = 1; i < tallies.size(); ++i) {
    taken->notices.push_back(minority_notice(tallies[i], of, counted, origin));
  }
  if (counted && of < answers.size()) {
    taken->notices.push_back(fmt::format("{}: the quantisation of {} is listed, the others are taken to have the same",
                                         origin, layers_text(of, answers.size(), counted)));
  }
  return taken;
}

}  // namespace expertile::quantisation

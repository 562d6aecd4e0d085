#include "problem/quantisation/compressed_tensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "problem/quantisation/formats.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "compressed-tensors";
constexpr std::size_t kMostGroups = 256;

// A class of modules that the fused experts belong to; other classes are of other modules.
bool is_experts_class(std::string_view target) {
  return target == "Linear" || target == "RoutedExperts" || target == "FusedMoE";
}

struct TargetedGroup {
  Group group;
  NameList targets;
  bool by_class = false;
};

// What becomes of one projection: an index into the groups, or one of these.
constexpr std::size_t kIgnored = static_cast<std::size_t>(-1);
constexpr std::size_t kNoTarget = static_cast<std::size_t>(-2);

class CompressedTensors : public Format {
 public:
  CompressedTensors(std::vector<TargetedGroup> groups, NameList ignored, const Source& source)
      : groups_(std::move(groups)),
        ignored_(std::move(ignored)),
        projections_(source.projections),
        budget_(source.budget) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    const auto ignored = ignored_.coverage(layer, *budget_);
    if (!ignored) return fail(ignored.error());
    if (ignored->all()) return left_alone(std::string(kFormat));
    const auto chosen = choose(layer, *ignored);
    if (!chosen) return fail(chosen.error());
    if (ignored->any()) return half_covered(kFormat, *ignored, projections_);
    return joined(layer, *chosen);
  }

 private:
  using Choice = std::array<std::size_t, kProjections>;

  // A name or pattern counts before a class, whatever the order of the groups.
  Result<Choice> choose(const ExpertLayer& layer, const Coverage& ignored) {
    Choice chosen;
    chosen.fill(kNoTarget);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const auto named = groups_[g].targets.coverage(layer, *budget_);
      if (!named) return fail(named.error());
      for (std::size_t i = 0; i < kProjections; ++i) {
        if (named->projections[i] && chosen[i] == kNoTarget) chosen[i] = g;
      }
    }
    // A later group with the same class replaces the earlier.
    const auto by_class = std::ranges::find_if(groups_.rbegin(), groups_.rend(), &TargetedGroup::by_class);
    for (std::size_t i = 0; i < kProjections; ++i) {
      if (ignored.projections[i]) chosen[i] = kIgnored;
      if (chosen[i] != kNoTarget || by_class == groups_.rend()) continue;
      chosen[i] = static_cast<std::size_t>(groups_.rend() - by_class) - 1;
    }
    return chosen;
  }

  Result<Answer> answer_of_choice(const ExpertLayer& layer, std::size_t choice) {
    if (choice == kNoTarget) return left_alone(std::string(kFormat));
    return answer_of_group(groups_[choice].group, layer.modules.front());
  }

  // All projections of the experts must have one scheme.
  Result<Answer> joined(const ExpertLayer& layer, const Choice& chosen) {
    std::array<Answer, kProjections> answers;
    for (std::size_t i = 0; i < kProjections; ++i) {
      auto one = answer_of_choice(layer, chosen[i]);
      if (!one) return one;
      answers[i] = std::move(*one);
    }
    if (answers[0] == answers[1] && answers[1] == answers[2]) return answers[0];
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < kProjections; ++i) {
      const bool left = answers[i].kind == Answer::Kind::left_alone;
      const auto text = left ? "not quantised" : std::string_view(answers[i].words).substr(kFormat.size() + 1);
      std::string part = fmt::format("{} {}", projections_[i], text);
      if (parts.empty() || parts.back() != part) parts.push_back(std::move(part));
    }
    return refused(fmt::format("{} with {}", kFormat, fmt::join(parts, ", ")), "an expert's projections differ");
  }

  std::vector<TargetedGroup> groups_;
  NameList ignored_;
  std::array<std::string_view, kProjections> projections_;
  Budget* budget_;
};

Result<TargetedGroup> targeted(Group group) {
  std::vector<std::string> names;
  bool by_class = false;
  for (const std::string& target : group.targets) {
    if (is_experts_class(target)) {
      by_class = true;
    } else {
      names.push_back(target);
    }
  }
  auto targets = NameList::read(names, {.suffix = true}, group.where + ".targets");
  if (!targets) return fail(targets.error());
  return TargetedGroup{std::move(group), std::move(*targets), by_class};
}

// group_2 comes before group_10.
std::vector<std::string> names_in_order(const Json& groups) {
  std::vector<std::string> names;
  for (const auto& [name, group] : groups.items()) names.push_back(name);
  std::ranges::stable_sort(names, {}, &std::string::size);
  return names;
}

// What attention quantises between its products is no scheme of weights.
bool is_attention_only(const Json& group) {
  const Json* targets = find_member(group, "targets");
  return targets != nullptr && targets->is_array() && targets->size() == 1 && targets->front().is_string() &&
         targets->front().get_ref<const std::string&>().ends_with("Attention");
}

Result<std::vector<TargetedGroup>> read_groups(const Section& groups) {
  if (groups.json().size() > kMostGroups) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} has more than {} groups, the most that are read", groups.where(), kMostGroups));
  }
  std::vector<TargetedGroup> read;
  for (const std::string& name : names_in_order(groups.json())) {
    if (const Json* value = groups.find(name); value != nullptr && is_attention_only(*value)) continue;
    auto group = read_group(groups, name);
    if (!group) return fail(group.error());
    auto with_targets = targeted(std::move(*group));
    if (!with_targets) return fail(with_targets.error());
    read.push_back(std::move(*with_targets));
  }
  return read;
}

// Without groups a section names its scheme by the format of its tensors.
FormatResult by_tensor_format(const Section& section) {
  const auto format = section.text("format");
  if (!format) return fail(format.error());
  if (format->empty()) return section.refuse("config_groups", "an object with a group in it");
  const SchemeRow* row = find_scheme(kFormat, *format);
  return constant(
      refused(fmt::format("{} {} without config_groups", kFormat, *format), row == nullptr ? "" : row->note));
}

// Sparse weights are another storage, whatever the groups say of it.
Result<bool> is_sparse(const Section& section) {
  const auto sparsity = section.object("sparsity_config");
  if (!sparsity) return fail(sparsity.error());
  if (!*sparsity) return false;
  const auto targets = (*sparsity)->names("targets");
  if (!targets) return fail(targets.error());
  return !targets->empty();
}

}  // namespace

FormatResult read_compressed_tensors(const Source& source) {
  const Section& section = source.section;
  const auto sparse = is_sparse(section);
  if (!sparse) return fail(sparse.error());
  if (*sparse) return constant(refused(fmt::format("{} sparse", kFormat)));
  const auto groups = section.object("config_groups");
  if (!groups) return fail(groups.error());
  if (!*groups || (*groups)->json().empty()) return by_tensor_format(section);
  auto read = read_groups(**groups);
  if (!read) return fail(read.error());
  const auto entries = section.names("ignore");
  if (!entries) return fail(entries.error());
  auto ignored = NameList::read(*entries, {.suffix = true}, section.where("ignore"));
  if (!ignored) return fail(ignored.error());
  return std::make_unique<CompressedTensors>(std::move(*read), std::move(*ignored), source);
}

}  // namespace expertile::quantisation

// NVIDIA ModelOpt: flat in config.json, nested below "quantization" in hf_quant_config.json. Its algorithms have names;
// MIXED_PRECISION lists them module by module.

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "problem/quantisation/formats.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kUsualGroup = 128;
constexpr NameRules kExcluded{.entries = Entries::globs, .components = true, .children = false};

std::string words_of(std::string_view algorithm) { return fmt::format("modelopt {}", algorithm); }

// Experts that the list excludes are left alone.
class Excluding {
 public:
  Excluding(NameList list, const Source& source)
      : list_(std::move(list)), projections_(source.projections), budget_(source.budget) {}

  // Nothing where the list does not speak of the experts.
  Result<std::optional<Answer>> answer(const ExpertLayer& layer) {
    const auto covered = list_.coverage(layer, *budget_);
    if (!covered) return fail(covered.error());
    if (covered->all()) return std::optional<Answer>(left_alone("modelopt"));
    if (covered->any()) return std::optional<Answer>(half_covered("modelopt", *covered, projections_));
    return std::optional<Answer>();
  }

 private:
  NameList list_;
  std::array<std::string_view, kProjections> projections_;
  Budget* budget_;
};

class OneAlgorithm : public Format {
 public:
  OneAlgorithm(Answer answer, Excluding excluded) : answer_(std::move(answer)), excluded_(std::move(excluded)) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    auto left = excluded_.answer(layer);
    if (!left) return fail(left.error());
    return *left ? **left : answer_;
  }

 private:
  Answer answer_;
  Excluding excluded_;
};

// quantized_layers: {module: {"quant_algo", "group_size"}}, sorted by name.
class Mixed : public Format {
 public:
  Mixed(const Section& layers, Excluding excluded) : layers_(layers), excluded_(std::move(excluded)) {}

  Result<Answer> answer(const ExpertLayer& layer) override {
    auto left = excluded_.answer(layer);
    if (!left) return fail(left.error());
    if (*left) return **left;
    for (const std::string& module : layer.modules) {
      auto found = below(module);
      if (!found) return fail(found.error());
      if (*found) return **found;
    }
    return of_whole_tensors(layer);
  }

 private:
  using Object = Json::object_t;

  [[nodiscard]] const Object& entries() const { return layers_.json().get_ref<const Object&>(); }

  Result<Answer> answer_of_entry(const std::string& name) {
    const auto entry = layers_.object(name);
    if (!entry) return fail(entry.error());
    if (!*entry) return layers_.refuse(name, "an object");
    const auto algorithm = (*entry)->text("quant_algo");
    if (!algorithm) return fail(algorithm.error());
    const auto group = (*entry)->whole("group_size");
    if (!group) return fail(group.error());
    if (algorithm->empty()) return left_alone("modelopt");
    return modelopt_algorithm(*algorithm, group->value_or(kUsualGroup), words_of(upper(*algorithm)));
  }

  // The module's own entry, or those of the projections below it, which must agree.
  Result<std::optional<Answer>> below(const std::string& module) {
    if (entries().contains(module)) return wrap(answer_of_entry(module));
    const std::string prefix = module + ".";
    std::optional<Answer> agreed;
    for (auto entry = entries().lower_bound(prefix); entry != entries().end(); ++entry) {
      if (!entry->first.starts_with(prefix)) break;
      auto answer = answer_of_entry(entry->first);
      if (!answer) return fail(answer.error());
      if (agreed && *agreed != *answer) return std::optional<Answer>(differing(*agreed, *answer));
      agreed = std::move(*answer);
    }
    return agreed;
  }

  Result<Answer> of_whole_tensors(const ExpertLayer& layer) {
    std::optional<Answer> agreed;
    for (const auto& spellings : layer.whole) {
      for (const std::string& name : spellings) {
        if (!entries().contains(name)) continue;
        auto answer = answer_of_entry(name);
        if (!answer) return answer;
        if (agreed && *agreed != *answer) return differing(*agreed, *answer);
        agreed = std::move(*answer);
      }
    }
    return agreed ? *agreed : silent();
  }

  static Result<std::optional<Answer>> wrap(Result<Answer> answer) {
    if (!answer) return fail(answer.error());
    return std::optional<Answer>(std::move(*answer));
  }

  static Answer differing(const Answer& one, const Answer& other) {
    return refused(fmt::format("{} and {} in one layer", one.words, other.words), "an expert's projections differ");
  }

  Section layers_;
  Excluding excluded_;
};

// The object that holds the algorithm: "quantization" where it is nested.
Result<Section> inner_section(const Section& section) {
  const Json* nested = section.find("quantization");
  if (nested == nullptr) return section;
  const auto object = section.object("quantization");
  if (!object) return fail(object.error());
  return **object;
}

Result<Excluding> read_excluded(const Section& section, const Source& source) {
  for (const char* key : {"exclude_modules", "ignore", "exclude"}) {
    const auto names = section.names(key);
    if (!names) return fail(names.error());
    if (names->empty()) continue;
    auto list = NameList::read(*names, kExcluded, section.where(key));
    if (!list) return fail(list.error());
    return Excluding(std::move(*list), source);
  }
  auto none = NameList::read({}, kExcluded, section.where());
  if (!none) return fail(none.error());
  return Excluding(std::move(*none), source);
}

// The list of a mixed section; older exporters leave it to the file beside config.json.
Result<std::optional<Section>> quantized_layers(const Section& section, const Json* beside) {
  auto layers = section.object("quantized_layers");
  if (!layers || (*layers && !(*layers)->json().empty()) || beside == nullptr) return layers;
  const std::string origin = section.where().substr(0, section.where().find(": "));
  const auto other = inner_section(Section(*beside, origin + ": hf_quant_config.json"));
  if (!other) return fail(other.error());
  return other->object("quantized_layers");
}

FormatResult read_mixed(const Section& section, Excluding excluded, const Source& source) {
  const auto layers = quantized_layers(section, source.beside);
  if (!layers) return fail(layers.error());
  if (*layers && !(*layers)->json().empty()) return std::make_unique<Mixed>(**layers, std::move(excluded));
  return constant(refused(words_of("MIXED_PRECISION without quantized_layers")));
}

}  // namespace

Answer modelopt_algorithm(std::string_view algorithm, std::int64_t group_size, std::string words) {
  const SchemeRow* row = find_scheme("modelopt", upper(algorithm));
  if (row == nullptr) return refused(std::move(words));
  const std::int64_t group = group_size >= 1 ? group_size : kUsualGroup;
  Answer answer = answer_of(*row, std::move(words), BlockShape{group, group});
  // One scale for all activations comes with the checkpoint; the others are made while the model runs.
  answer.static_inputs = row->outcome == Outcome::fp8_per_tensor;
  return answer;
}

FormatResult read_modelopt(const Source& source) {
  const auto section = inner_section(source.section);
  if (!section) return fail(section.error());
  const auto algorithm = section->text("quant_algo");
  if (!algorithm) return fail(algorithm.error());
  // A cache of keys and values may be all that is quantised.
  if (algorithm->empty() && section->find("kv_cache_quant_algo") != nullptr) return constant(left_alone("modelopt"));
  if (algorithm->empty()) return constant(refused(fmt::format("{} without quant_algo", source.method)));
  auto excluded = read_excluded(*section, source);
  if (!excluded) return fail(excluded.error());
  if (upper(*algorithm) == "MIXED_PRECISION") return read_mixed(*section, std::move(*excluded), source);
  const auto group = section->whole("group_size");
  if (!group) return fail(group.error());
  Answer answer = modelopt_algorithm(*algorithm, group->value_or(kUsualGroup), words_of(upper(*algorithm)));
  return std::make_unique<OneAlgorithm>(std::move(answer), std::move(*excluded));
}

}  // namespace expertile::quantisation

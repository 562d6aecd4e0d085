#include "problem/model/activation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "files/json_text.hpp"
#include "problem/model/sections.hpp"
#include "problem/presets.hpp"

namespace expertile {
namespace {

struct Known {
  std::string_view name;
  bool is_gated;  // usually
  std::string_view words[5];
};

constexpr Known kKnown[] = {
    {"silu", true, {"silu", "swish", "swiglu"}},
    {"gelu", true, {"gelu", "geglu", "gelu_python"}},
    {"gelu_tanh", true, {"gelu_tanh", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate"}},
    {"swiglu_oai", true, {"swiglu_oai", "swigluoai"}},
    {"relu", true, {"relu"}},
    {"relu2", false, {"relu2", "relu_squared"}},
};

const Known* find_word(std::string_view word) {
  for (const Known& one : kKnown) {
    if (std::ranges::find(one.words, word) != std::end(one.words)) return &one;
  }
  return nullptr;
}

}  // namespace

std::string activation_choices() {
  std::vector<std::string_view> names;
  for (const Known& one : kKnown) names.push_back(one.name);
  return join(names, "or");
}

std::optional<ModelActivation> activation_named(std::string_view name) {
  const auto* found = std::ranges::find(kKnown, name, &Known::name);
  if (found == std::end(kKnown)) return std::nullopt;
  return ModelActivation{std::string(name), found->is_gated};
}

namespace model {
namespace {

// Models whose file says another activation than they compute.
constexpr std::pair<std::string_view, std::string_view> kByModelType[] = {{"gpt_oss", "swiglu_oai"}};

// Under these names older layers say the function between two products without a gate.
constexpr std::string_view kFieldsWithoutGate[] = {"activation_function", "dense_act_fn"};

bool has_gate(const Sections& sections, std::string_view field, const Known* known) {
  if (known != nullptr && !known->is_gated) return false;
  if (std::ranges::find(kFieldsWithoutGate, field) == std::end(kFieldsWithoutGate)) return true;
  if (known != nullptr && known->name == "silu") return true;
  const auto says_so = sections.find("is_gated_act");
  return says_so && says_so->value->is_boolean() && says_so->value->get<bool>();
}

}  // namespace

ReadActivation read_activation(const Sections& sections) {
  const auto type = sections.find("model_type");
  for (const auto& [model_type, name] : kByModelType) {
    if (type && *type->value == model_type) return {*activation_named(name), {}};
  }
  auto found = sections.find(kActivation);
  if (found && found->value->is_object()) {
    const auto name = found->value->find("name");
    found->value = name == found->value->end() ? nullptr : &*name;
  }
  if (!found || found->value == nullptr || !found->value->is_string()) {
    return {{}, fmt::format("{} names no activation: silu with a gate is taken", sections.origin())};
  }
  const auto word = found->value->get<std::string>();
  const Known* known = find_word(word);
  ModelActivation activation{known != nullptr ? std::string(known->name) : word,
                             has_gate(sections, found->name, known)};
  if (known != nullptr) return {std::move(activation), {}};
  std::string notice = fmt::format("{}: {} {} is not known: experts {} a gate are taken; --gated {} says otherwise",
                                   sections.origin(), found->name, shown(word),
                                   activation.is_gated ? "with" : "without", activation.is_gated ? "no" : "yes");
  return {std::move(activation), std::move(notice)};
}

}  // namespace model
}  // namespace expertile

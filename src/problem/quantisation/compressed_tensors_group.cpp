#include <fmt/format.h>

#include <algorithm>

#include "files/json_text.hpp"
#include "problem/quantisation/compressed_tensors.hpp"
#include "problem/quantisation/patterns.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMicroscaling = 32;  // the group of MXFP4 and MXFP8

// Schemes by name, which may stand for a whole group.
struct Preset {
  std::string_view name;
  std::string_view type;
  std::int64_t bits;
  std::string_view strategy;
  std::int64_t group_size;       // 0: none
  std::string_view inputs_type;  // empty: none
  std::string_view inputs_strategy;
  bool dynamic;
};

constexpr Preset kPresets[] = {
    {"FP8", "float", 8, "tensor", 0, "float", "tensor", false},
    {"FP8_DYNAMIC", "float", 8, "channel", 0, "float", "token", true},
    {"FP8_BLOCK", "float", 8, "block", 0, "float", "group", true},
    {"W8A8", "int", 8, "channel", 0, "int", "token", true},
    {"INT8", "int", 8, "channel", 0, "int", "token", true},
    {"W8A16", "int", 8, "group", 128, "", "", false},
    {"W4A16", "int", 4, "group", 128, "", "", false},
    {"W4A16_ASYM", "int", 4, "group", 128, "", "", false},
    {"W4A8", "int", 4, "group", 128, "int", "token", true},
    {"W4AFP8", "int", 4, "group", 128, "float", "token", true},
    {"NVFP4", "float", 4, "tensor_group", 16, "float", "tensor_group", true},
    {"NVFP4A16", "float", 4, "tensor_group", 16, "", "", false},
    {"MXFP4", "float", 4, "group", 32, "float", "group", true},
    {"MXFP4A16", "float", 4, "group", 32, "", "", false},
    {"MXFP8", "float", 8, "group", 32, "float", "group", true},
};

Result<Group> group_of_preset(const Section& groups, const std::string& name) {
  const auto targets = groups.names(name);
  if (!targets) return fail(targets.error());
  const std::string known = upper(name);
  const auto* preset = std::ranges::find(kPresets, known, &Preset::name);
  if (preset == std::end(kPresets)) return groups.refuse(name, "an object, or the name be that of a known scheme");
  Group group;
  group.targets = *targets;
  group.where = groups.where(name);
  group.weights = {.type = std::string(preset->type), .bits = preset->bits, .strategy = std::string(preset->strategy)};
  if (preset->group_size > 0) group.weights.group_size = preset->group_size;
  if (preset->strategy == "block") group.weights.block = BlockShape{128, 128};
  if (!preset->inputs_type.empty()) {
    group.inputs = TensorArguments{.type = std::string(preset->inputs_type),
                                   .strategy = std::string(preset->inputs_strategy),
                                   .dynamic = preset->dynamic};
  }
  return group;
}

Status read_bits(const Section& section, TensorArguments& arguments) {
  const Json* value = section.find("num_bits");
  if (value == nullptr || !value->is_object()) {
    const auto bits = section.whole("num_bits");
    if (!bits) return fail(bits.error());
    arguments.bits = bits->value_or(8);
    return {};
  }
  const Section by_name(*value, section.where("num_bits"));
  for (const auto& [name, entry] : value->items()) {
    const auto bits = by_name.whole(name);
    if (!bits) return fail(bits.error());
    arguments.bits_by_name.emplace_back(name, bits->value_or(16));
  }
  return {};
}

Status read_strategy(const Section& section, TensorArguments& arguments) {
  const auto strategy = section.text("strategy");
  if (!strategy) return fail(strategy.error());
  const auto size = section.whole("group_size");
  if (!size) return fail(size.error());
  arguments.group_size = *size;
  if (!strategy->empty()) {
    arguments.strategy = lower(*strategy);
  } else if (*size) {
    arguments.strategy = **size == -1 ? "channel" : "group";
  }
  if (arguments.strategy != "block") return {};
  const auto block = section.block("block_structure");
  if (!block) return fail(block.error());
  arguments.block = *block;
  return {};
}

// dynamic is true, false or "local"; actorder names an order, and two of them leave groups of neighbours.
Status read_flags(const Section& section, TensorArguments& arguments) {
  const auto symmetric = section.flag("symmetric", true);
  if (!symmetric) return fail(symmetric.error());
  arguments.symmetric = *symmetric;
  const Json* dynamic = section.find("dynamic");
  if (dynamic != nullptr && !dynamic->is_boolean() && !dynamic->is_string()) {
    return section.refuse("dynamic", "true, false or local");
  }
  // Scales a token, or a group of one, are made while the model runs: a file need not say so.
  const bool usual = arguments.strategy == "token" || arguments.strategy == "group";
  arguments.dynamic = dynamic == nullptr ? usual : dynamic->is_string() || dynamic->get<bool>();
  const Json* order = section.find("actorder");
  if (order != nullptr && order->is_string()) {
    const std::string name = lower(order->get_ref<const std::string&>());
    arguments.reordered = name == "group" || name == "dynamic";
  } else if (order != nullptr) {
    arguments.reordered = order->is_boolean() && order->get<bool>();
  }
  return {};
}

Result<TensorArguments> read_arguments(const Section& section) {
  TensorArguments arguments;
  const auto type = section.text("type");
  if (!type) return fail(type.error());
  if (!type->empty()) arguments.type = lower(*type);
  for (const auto read : {read_bits, read_strategy, read_flags}) {
    if (auto status = read(section, arguments); !status) return fail(status.error());
  }
  return arguments;
}

// The longest key that the name contains; bits that no key gives are the model's own 16.
std::int64_t bits_for(const TensorArguments& weights, std::string_view module) {
  if (weights.bits_by_name.empty()) return weights.bits;
  std::int64_t bits = 16;
  std::size_t longest = 0;
  for (const auto& [part, value] : weights.bits_by_name) {
    if (module.find(part) == std::string_view::npos || part.size() < longest) continue;
    longest = part.size();
    bits = value;
  }
  return bits;
}

std::string inputs_said(const Group& group) {
  if (!group.inputs) return "none";
  const TensorArguments& inputs = *group.inputs;
  const bool dynamic_block = group.weights.strategy == "block" && inputs.dynamic;
  return fmt::format("{} {} bit {}", inputs.type, inputs.bits, dynamic_block ? "dynamic" : inputs.strategy);
}

std::string inputs_words(const Group& group) {
  if (!group.inputs) return " without input activations";
  return fmt::format(" with {} {} bit {} {} input activations", group.inputs->type, group.inputs->bits,
                     group.inputs->dynamic ? "dynamic" : "static", group.inputs->strategy);
}

Result<std::optional<BlockShape>> block_of(const Group& group, Outcome outcome) {
  if (!has_block(outcome)) return std::optional<BlockShape>();
  const TensorArguments& weights = group.weights;
  if (outcome != Outcome::w8a16_group) {
    if (weights.block) return weights.block;
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}.weights.block_structure is missing, it must be two whole numbers from 1", group.where));
  }
  if (weights.group_size && *weights.group_size >= 1) {
    return std::optional<BlockShape>(BlockShape{1, *weights.group_size});
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}.weights.group_size must be a whole number from 1", group.where));
}

}  // namespace

Result<Group> read_group(const Section& groups, const std::string& name) {
  const Json* value = groups.find(name);
  if (value != nullptr && value->is_array()) return group_of_preset(groups, name);
  const auto section = groups.object(name);
  if (!section) return fail(section.error());
  if (!*section) return groups.refuse(name, "an object");
  Group group;
  group.where = (*section)->where();
  const auto targets = (*section)->names("targets");
  if (!targets) return fail(targets.error());
  group.targets = (*section)->find("targets") == nullptr ? std::vector<std::string>{"Linear"} : *targets;
  const auto weights = (*section)->object("weights");
  if (!weights) return fail(weights.error());
  if (!*weights) return (*section)->refuse("weights", "an object");
  auto arguments = read_arguments(**weights);
  if (!arguments) return fail(arguments.error());
  group.weights = std::move(*arguments);
  const auto inputs = (*section)->object("input_activations");
  if (!inputs) return fail(inputs.error());
  if (*inputs) {
    auto input_arguments = read_arguments(**inputs);
    if (!input_arguments) return fail(input_arguments.error());
    group.inputs = std::move(*input_arguments);
  }
  return group;
}

Result<Answer> answer_of_group(const Group& group, std::string_view module) {
  constexpr std::string_view kFormat = "compressed-tensors";
  const std::int64_t bits = bits_for(group.weights, module);
  if (bits >= 16) return left_alone(std::string(kFormat));
  const TensorArguments& weights = group.weights;
  const std::string said = fmt::format("{} {} bit {}", weights.type, bits, weights.strategy);
  const std::string words = fmt::format("{} {}", kFormat, said);
  // Refused whatever the inputs are.
  const bool other_group = weights.strategy == "group" && weights.group_size.value_or(kMicroscaling) != kMicroscaling;
  if (const SchemeRow* row = find_scheme(kFormat, said)) return refused(words, other_group ? "" : row->note);
  if (bits != 8) return refused(words);
  if (!weights.symmetric) return refused(words + " asymmetric", "weights have zero points");
  if (weights.reordered) return refused(words + " with actorder", "groups are not of neighbours");
  const SchemeRow* row = find_scheme(kFormat, fmt::format("{}, inputs {}", said, inputs_said(group)));
  const bool dynamic = !group.inputs || group.inputs->dynamic || group.inputs->strategy == "tensor";
  if (row == nullptr || !dynamic) return refused(words + inputs_words(group));
  if (row->outcome == Outcome::refused) return answer_of(*row, words + inputs_words(group));
  const auto block = block_of(group, row->outcome);
  if (!block) return fail(block.error());
  Answer answer = answer_of(*row, words, *block);
  answer.static_inputs = group.inputs && !group.inputs->dynamic;
  return answer;
}

}  // namespace expertile::quantisation

// AMD Quark: a configuration for all layers, others for layers by name or pattern, and a list of what is excluded.

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "problem/quantisation/formats.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "quark";

// How one tensor is quantised.
struct Tensor {
  std::string dtype;
  std::string scheme;  // per_tensor, per_channel, per_token, per_group, per_block
  bool dynamic = false;
  bool symmetric = true;
  std::optional<BlockShape> block{};
  std::string more{};  // the dtypes of further stages: what is stored is the last
};

Result<std::string> tensor_dtype(const Section& section) {
  auto dtype = section.text("dtype");
  if (dtype) *dtype = lower(*dtype);
  return dtype;
}

Result<Tensor> read_stage(const Section& section) {
  Tensor tensor;
  const auto dtype = tensor_dtype(section);
  const auto scheme = section.text("qscheme");
  const auto dynamic = section.flag("is_dynamic", false);
  const auto symmetric = section.flag("symmetric", true);
  const auto block = section.block("block_size");
  if (!dtype) return fail(dtype.error());
  if (!scheme) return fail(scheme.error());
  if (!dynamic) return fail(dynamic.error());
  if (!symmetric) return fail(symmetric.error());
  if (!block) return fail(block.error());
  tensor.dtype = *dtype;
  tensor.scheme = lower(*scheme);
  tensor.dynamic = *dynamic;
  tensor.symmetric = *symmetric;
  tensor.block = *block;
  return tensor;
}

// An object, a list of one, or a list of stages; nothing for null.
Result<std::optional<Tensor>> read_tensor(const Section& config, std::string_view key) {
  const Json* value = config.find(key);
  if (value == nullptr || (value->is_array() && value->empty())) return std::optional<Tensor>();
  std::vector<const Json*> stages = {value};
  if (value->is_array()) {
    stages.clear();
    for (const Json& stage : *value) stages.push_back(&stage);
  }
  std::optional<Tensor> tensor;
  for (const Json* stage : stages) {
    if (!stage->is_object()) return config.refuse(key, "an object or a list of objects");
    auto read = read_stage(Section(*stage, config.where(key)));
    if (!read) return fail(read.error());
    if (tensor) {
      tensor->more += " " + read->dtype;
    } else {
      tensor = std::move(*read);
    }
  }
  return tensor;
}

// A channel of activations is a token, where its scale is made while the model runs.
std::string inputs_said(const std::optional<Tensor>& inputs) {
  if (!inputs) return "none";
  const bool token = inputs->scheme == "per_channel" && inputs->dynamic;
  return fmt::format("{} {}", inputs->dtype, token ? "per_token" : inputs->scheme);
}

Result<Answer> answer_of_config(const Section& config) {
  const auto weight = read_tensor(config, "weight");
  if (!weight) return fail(weight.error());
  const auto inputs = read_tensor(config, "input_tensors");
  if (!inputs) return fail(inputs.error());
  if (!*weight || (*weight)->dtype.empty()) return left_alone(std::string(kFormat));
  const Tensor& tensor = **weight;
  const std::string said = fmt::format("{} {}", tensor.dtype, tensor.scheme);
  const std::string words = fmt::format("{} {}", kFormat, said);
  if (!tensor.more.empty()) {
    const bool four = tensor.more.find('4', tensor.more.find_last_of(' ')) != std::string::npos;
    return refused(fmt::format("{} {}{} in stages", kFormat, tensor.dtype, tensor.more), four ? "4 bit" : "");
  }
  if (const SchemeRow* row = find_scheme(kFormat, said)) return answer_of(*row, words);
  if (tensor.dtype.find("fp4") != std::string::npos || tensor.dtype.find("int4") != std::string::npos) {
    return refused(words, "4 bit");
  }
  if (!tensor.symmetric) return refused(words + " asymmetric", "weights have zero points");
  const bool goes_static = !*inputs || (*inputs)->scheme == "per_tensor" || (*inputs)->dynamic;
  const SchemeRow* row = find_scheme(kFormat, fmt::format("{}, inputs {}", said, inputs_said(*inputs)));
  if (row == nullptr || row->outcome == Outcome::refused || !goes_static) {
    const std::string with = *inputs ? fmt::format("with {} {} {} input_tensors", (*inputs)->dtype,
                                                   (*inputs)->dynamic ? "dynamic" : "static", (*inputs)->scheme)
                                     : std::string("without input_tensors");
    return refused(fmt::format("{} {}", words, with), row == nullptr ? "" : row->note);
  }
  if (has_block(row->outcome) && !tensor.block) {
    return Section(*config.find("weight"), config.where("weight")).refuse("block_size", "two whole numbers from 1");
  }
  Answer answer = answer_of(*row, words, tensor.block);
  answer.static_inputs = *inputs && !(*inputs)->dynamic;
  return answer;
}

class Quark : public Format {
 public:
  Quark(NameList excluded, const Source& source)
      : excluded_(std::move(excluded)), projections_(source.projections), budget_(source.budget) {}

  // The configurations of layers whose names or patterns the keys are. The section is the source's.
  Status add_layers(const Section& layers) {
    for (const auto& [key, value] : layers.json().items()) {
      const auto config = layers.object(key);
      if (!config) return fail(config.error());
      if (!*config) continue;
      auto list = NameList::read({key}, {.entries = Entries::globs, .children = true}, layers.where());
      if (!list) return fail(list.error());
      layers_.push_back({key, std::move(*list), **config});
    }
    return {};
  }

  void set_global(const Section& config) { global_ = config; }

  Result<Answer> answer(const ExpertLayer& layer) override {
    const auto excluded = excluded_.coverage(layer, *budget_);
    if (!excluded) return fail(excluded.error());
    if (excluded->all()) return left_alone(std::string(kFormat));
    if (excluded->any()) return half_covered(kFormat, *excluded, projections_);
    std::optional<Answer> chosen;
    for (const Layers& layers : layers_) {
      const auto covered = layers.names.coverage(layer, *budget_);
      if (!covered) return fail(covered.error());
      if (!covered->any()) continue;
      auto answer = answer_of_config(layers.config);
      if (!answer) return answer;
      if (chosen && *chosen != *answer) return differing(*chosen, *answer);
      chosen = std::move(*answer);
    }
    if (chosen) return *chosen;
    return global_ ? answer_of_config(*global_) : left_alone(std::string(kFormat));
  }

 private:
  struct Layers {
    std::string key;
    NameList names;
    Section config;
  };

  // The file's order decides between them, and JSON has none.
  static Answer differing(const Answer& one, const Answer& other) {
    return refused(fmt::format("{} and {} for the same layer", one.words, other.words),
                   "two patterns of layer_quant_config name the experts");
  }

  NameList excluded_;
  std::vector<Layers> layers_;
  std::optional<Section> global_;
  std::array<std::string_view, kProjections> projections_;
  Budget* budget_;
};

constexpr std::size_t kMostLayerConfigs = 2000;

}  // namespace

FormatResult read_quark(const Source& source) {
  const Section& section = source.section;
  const auto names = section.names("exclude");
  if (!names) return fail(names.error());
  auto excluded = NameList::read(*names, {.entries = Entries::globs, .children = true}, section.where("exclude"));
  if (!excluded) return fail(excluded.error());
  auto format = std::make_unique<Quark>(std::move(*excluded), source);
  const auto layers = section.object("layer_quant_config");
  if (!layers) return fail(layers.error());
  if (*layers && (*layers)->json().size() > kMostLayerConfigs) {
    return fail(ErrorCode::invalid_argument, fmt::format("{} has more than {} entries, the most that are read",
                                                         (*layers)->where(), kMostLayerConfigs));
  }
  if (*layers) {
    if (auto status = format->add_layers(**layers); !status) return fail(status.error());
  }
  const auto global = section.object("global_quant_config");
  if (!global) return fail(global.error());
  if (!*global && (!*layers || (*layers)->json().empty())) return section.refuse("global_quant_config", "an object");
  if (*global) format->set_global(**global);
  return FormatResult(std::move(format));
}

}  // namespace expertile::quantisation

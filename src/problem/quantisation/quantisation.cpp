#include "problem/quantisation/quantisation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "problem/quantisation/formats.hpp"
#include "problem/quantisation/module_names.hpp"
#include "problem/quantisation/patterns.hpp"
#include "problem/quantisation/vote.hpp"

namespace expertile {
namespace quantisation {
namespace {

using Json = nlohmann::json;
using Objects = std::vector<const Json*>;

// Where the quantisation is said, and how messages call the place. The outermost object that has it counts.
Result<std::optional<Section>> find_section(const Objects& objects, const Json* beside, std::string_view origin) {
  const auto in_objects = [&](std::string_view key) -> Result<std::optional<Section>> {
    for (const Json* object : objects) {
      auto section = Section(*object, fmt::format("{}:", origin)).object(key);
      if (!section || *section) return section;
    }
    return std::optional<Section>();
  };
  for (const char* key : {"quantization_config", "compression_config"}) {
    auto found = in_objects(key);
    if (!found || *found) return found;
  }
  if (beside == nullptr) return in_objects("quantization");
  const std::string where = fmt::format("{}: hf_quant_config.json", origin);
  if (beside->is_object()) return std::optional<Section>(Section(*beside, where));
  return fail(ErrorCode::invalid_argument, fmt::format("{} must hold one JSON object", where));
}

// The method's name in lower case; without one, what the fields tell of it; "" where they tell nothing.
Result<std::string> method_of(const Section& section) {
  const auto named = section.text("quant_method");
  if (!named) return fail(named.error());
  const std::string method = lower(*named);
  if (method == "compressed_tensors") return std::string("compressed-tensors");
  if (!method.empty()) return method;
  const Json* producer = section.find("producer");
  const Json* name = producer == nullptr ? nullptr : find_member(*producer, "name");
  const Json* nested = section.find("quantization");
  const bool modelopt = section.find("quant_algo") != nullptr || (name != nullptr && *name == "modelopt") ||
                        (nested != nullptr && nested->is_object());
  if (modelopt) return std::string("modelopt");
  if (section.find("config_groups") != nullptr) return std::string("compressed-tensors");
  for (const char* key : {"load_in_4bit", "_load_in_4bit", "load_in_8bit", "_load_in_8bit"}) {
    if (section.find(key) != nullptr) return std::string("bitsandbytes");
  }
  return std::string();
}

// Fields that say of the experts what quant_method says of the rest.
struct Overruling {
  std::string_view field;
  bool of_config;  // it may stand in config.json itself
};
constexpr Overruling kOverruling[] = {
    {"expert_dtype", true}, {"routed_experts_quant_method", false}, {"store_dtype", false}};

enum class Storage { as_the_method, own_dtype, other };

// What a value of those fields means: 8 bit floats are as the method has them.
Storage storage_of(std::string_view value) {
  for (const char* same : {"fp8", "float8", "fp8_e4m3", "float8_e4m3fn", "float8_e4m3", "e4m3"}) {
    if (value == same) return Storage::as_the_method;
  }
  for (const char* own : {"bf16", "bfloat16", "fp16", "float16", "fp32", "float32"}) {
    if (value == own) return Storage::own_dtype;
  }
  return Storage::other;
}

// expert_dtype or nothing, wherever it stands.
Result<std::string> overruling_value(const Overruling& field, const std::optional<Section>& section,
                                     const Objects& objects, std::string_view origin) {
  if (section && section->find(field.field) != nullptr) return section->text(field.field);
  if (!field.of_config) return std::string();
  for (const Json* object : objects) {
    const Section config(*object, fmt::format("{}:", origin));
    if (config.find(field.field) != nullptr) return config.text(field.field);
  }
  return std::string();
}

// The answer of a field that overrules quant_method, if there is one.
Result<std::optional<Answer>> overruled(const std::optional<Section>& section, const Objects& objects,
                                        std::string_view origin) {
  if (section) {
    const auto algorithm = section->text("moe_quant_algo");
    if (!algorithm) return fail(algorithm.error());
    if (!algorithm->empty()) {
      return std::optional<Answer>(
          modelopt_algorithm(*algorithm, 0, fmt::format("modelopt moe_quant_algo {}", upper(*algorithm))));
    }
  }
  for (const Overruling& field : kOverruling) {
    const auto value = overruling_value(field, section, objects, origin);
    if (!value) return fail(value.error());
    const Storage storage = storage_of(lower(*value));
    if (value->empty() || storage == Storage::as_the_method) continue;
    // A dtype of storage that holds all values says nothing of the experts alone.
    if (storage == Storage::own_dtype && !field.of_config) continue;
    if (storage == Storage::own_dtype) return std::optional<Answer>(left_alone(fmt::format("expert_dtype {}", *value)));
    return std::optional<Answer>(answer_by_row(field.field, lower(*value), fmt::format("{} {}", field.field, *value)));
  }
  return std::optional<Answer>();
}

// DeepSeek-V4's experts are 4 bit beside fp8, and readers differ on what a missing field means.
Status check_expert_dtype(const Objects& objects, std::string_view method, std::string_view origin) {
  if (method != "fp8") return {};
  bool named = false;
  bool deepseek = false;
  for (const Json* object : objects) {
    const Json* type = find_member(*object, "model_type");
    deepseek = deepseek || (type != nullptr && *type == "deepseek_v4");
    named = named || find_member(*object, "expert_dtype") != nullptr;
  }
  if (!deepseek || named) return {};
  return fail(ErrorCode::unsupported,
              fmt::format("{}: model_type deepseek_v4 without expert_dtype does not say whether its experts are fp4 or "
                          "fp8; give --dtype (and --block-shape) to tune the sizes with another scheme",
                          origin));
}

Answer without_method(const Section& section) {
  const auto bits = section.whole("bits");
  if (bits && *bits) return refused(fmt::format("{} bit without a quant_method", **bits));
  return refused("without a quant_method");
}

FormatResult read_format(const Source& source, const Objects& objects, std::string_view origin) {
  if (source.method.empty()) return constant(without_method(source.section));
  const bool in_section = source.section.find("expert_dtype") != nullptr;
  if (auto status = check_expert_dtype(objects, in_section ? "" : source.method, origin); !status) {
    return fail(status.error());
  }
  return find_reader(source.method)(source);
}

Result<Quantisation> ask_layers(Format& format, const ExpertModules& modules, std::string_view method,
                                std::string_view origin) {
  LayerAnswers answers;
  for (const ExpertLayer& layer : modules.layers) {
    auto answer = format.answer(layer);
    if (!answer) return fail(answer.error());
    answers.emplace_back(layer.number, std::move(*answer));
  }
  return decide(answers, modules.counted, method, origin);
}

Result<Quantisation> read(const Json& root, const Json* beside, std::string_view origin) {
  const Objects objects = config_objects(root);
  const auto section = find_section(objects, beside, origin);
  if (!section) return fail(section.error());
  const auto answer = overruled(*section, objects, origin);
  if (!answer) return fail(answer.error());
  if (*answer) return decide({{0, **answer}}, false, (*answer)->words, origin);
  if (!*section) return Quantisation{};
  const auto method = method_of(**section);
  if (!method) return fail(method.error());
  const auto modules = expert_modules(root, (*section)->json(), origin);
  if (!modules) return fail(modules.error());
  Budget budget;
  const Source source{**section, *method, beside, modules->projection_words, &budget};
  const auto format = read_format(source, objects, origin);
  if (!format) return fail(format.error());
  return ask_layers(**format, *modules, *method, origin);
}

}  // namespace
}  // namespace quantisation

Result<Quantisation> read_quantisation(const nlohmann::json& root, const nlohmann::json* beside,
                                       std::string_view origin) {
  return quantisation::read(root, beside, origin);
}

}  // namespace expertile

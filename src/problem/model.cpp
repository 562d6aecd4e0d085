#include "problem/model.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "files/json_text.hpp"
#include "problem/hub.hpp"
#include "problem/model/experts.hpp"
#include "problem/model/sections.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostDepth = 64;

Result<Json> parse_document(std::string_view text, std::string_view origin) {
  auto document = parse_json(
      text, origin,
      {.bytes = kMostConfigBytes, .depth = kMostDepth, .refuse_repeated_keys = false, .python_numbers = true});
  if (document && !document->is_object()) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: must hold one JSON object", origin));
  }
  return document;
}

constexpr std::pair<std::string_view, DType> kDTypes[] = {{"float16", DType::float16},
                                                          {"half", DType::float16},
                                                          {"bfloat16", DType::bfloat16},
                                                          {"float32", DType::float32},
                                                          {"float", DType::float32}};

// Of the section with the experts, else of the top level. None where neither names one.
const Json* find_dtype(const model::Sections& sections) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (const auto found = sections.find(key)) return found->value;
  }
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (const Json* value = find_member(sections.root(), key)) return value;
  }
  return nullptr;
}

Result<DType> read_dtype(const Json& value, std::string_view origin) {
  std::string text = value.is_string() ? value.get<std::string>() : std::string();
  if (text.starts_with("torch.")) text = text.substr(6);
  for (const auto& [known, dtype] : kDTypes) {
    if (text == known) return dtype;
  }
  return fail(ErrorCode::unsupported,
              fmt::format("{}: dtype {} is not supported; float16, bfloat16 and float32 are; give --dtype", origin,
                          shown(value)));
}

ModelSpec read_spec(const Json& root, const Json* beside, std::string_view origin) {
  ModelSpec spec;
  spec.name = std::string(origin);
  model::Sections sections(root, origin);
  spec.hidden_size = model::read_hidden_size(sections);
  model::ExpertSizes sizes = model::read_expert_sizes(sections);
  spec.experts = std::move(sizes.experts);
  spec.top_k = std::move(sizes.top_k);
  spec.intermediate = std::move(sizes.intermediate);
  spec.expert_hidden_size = std::move(sizes.expert_hidden_size);
  spec.quantisation = read_quantisation(root, beside, origin);
  const bool is_dense = spec.experts && !*spec.experts;
  if (is_dense) {
    spec.notices.push_back(
        fmt::format("{} is a dense model: its hidden size and dtype are used, the experts are the defaults", origin));
  } else {
    model::ReadActivation read = model::read_activation(sections);
    spec.activation = std::move(read.activation);
    spec.activation_notice = std::move(read.notice);
    for (const std::string& field : sections.unknown_fields_of_experts()) {
      spec.notices.push_back(fmt::format("{}: {} looks like a field of experts and is not known", origin, field));
    }
  }
  if (const Json* dtype = find_dtype(sections)) {
    spec.names_dtype = true;
    spec.dtype = read_dtype(*dtype, origin);
  }
  const auto& of_sizes = sections.notices();
  spec.notices.insert(spec.notices.end(), of_sizes.begin(), of_sizes.end());
  return spec;
}

// beside: the text of hf_quant_config.json, if there is one.
Result<ModelSpec> read_both(const Json& root, const std::optional<std::string>& beside, std::string_view origin) {
  if (!beside) return read_spec(root, nullptr, origin);
  const auto second = parse_document(*beside, fmt::format("{} (hf_quant_config.json)", origin));
  if (!second) return fail(second.error());
  return read_spec(root, &*second, origin);
}

// Whether hf_quant_config.json has a say: where config.json names no quantisation, or one that is listed elsewhere.
bool looks_for_quantisation_beside(const Json& root) {
  const auto found = root.find("quantization_config");
  if (found == root.end() || !found->is_object()) return true;
  const auto algorithm = found->find("quant_algo");
  return algorithm != found->end() && *algorithm == "MIXED_PRECISION" && !found->contains("quantized_layers");
}

}  // namespace

Result<ModelSpec> parse_model_config(std::string_view text, std::string_view origin,
                                     const std::optional<std::string>& beside) {
  const auto document = parse_document(text, origin);
  if (!document) return fail(document.error());
  return read_both(*document, beside, origin);
}

Result<ModelSpec> load_model(const std::string& model) {
  const auto text = find_model_config(model);
  if (!text) return fail(text.error());
  const auto document = parse_document(*text, model);
  if (!document) return fail(document.error());
  if (!looks_for_quantisation_beside(*document)) return read_both(*document, {}, model);
  const auto beside = find_quantisation_config(model);
  if (!beside) return fail(beside.error());
  auto spec = read_both(*document, beside->text, model);
  if (spec && !beside->notice.empty()) spec->notices.push_back(beside->notice);
  return spec;
}

}  // namespace expertile

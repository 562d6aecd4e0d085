#include "problem/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "files/json_text.hpp"
#include "problem/hub.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostDepth = 64;
constexpr std::int64_t kMostSize = std::int64_t{1} << 31;
using Keys = std::initializer_list<const char*>;

Result<Json> parse_document(std::string_view text, std::string_view origin) {
  auto document =
      parse_json(text, origin, {.bytes = kMostConfigBytes, .depth = kMostDepth, .refuse_repeated_keys = false});
  if (document && !document->is_object()) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: must hold one JSON object", origin));
  }
  return document;
}

// The configuration and the sections where a multimodal or DBRX-style model keeps its numbers.
class ModelReader {
 public:
  ModelReader(const Json& root, std::string_view origin) : origin_(origin) {
    sections_.push_back(&root);
    for (const char* nested : {"text_config", "language_config", "llm_config"}) {
      if (const auto found = root.find(nested); found != root.end() && found->is_object()) sections_.push_back(&*found);
    }
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      const auto found = sections_[i]->find("ffn_config");
      if (found != sections_[i]->end() && found->is_object()) sections_.push_back(&*found);
    }
  }

  Result<ModelSpec> read() {
    ModelSpec spec;
    spec.name = std::string(origin_);
    const auto hidden = size({"hidden_size", "d_model", "n_embd"});
    if (!hidden) return fail(hidden.error());
    if (!*hidden) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: hidden_size is missing, it must be a whole number", origin_));
    }
    spec.hidden_size = **hidden;
    if (auto status = read_experts(spec); !status) return fail(status.error());
    if (auto status = read_dtype(spec); !status) return fail(status.error());
    if (auto status = read_quantisation(spec); !status) return fail(status.error());
    return spec;
  }

 private:
  [[nodiscard]] const Json* find(const char* key) const {
    for (const Json* section : sections_) {
      if (const auto found = section->find(key); found != section->end() && !found->is_null()) return &*found;
    }
    return nullptr;
  }

  [[nodiscard]] Result<std::optional<std::int64_t>> size(Keys keys) const {
    for (const char* key : keys) {
      const Json* value = find(key);
      if (value == nullptr) continue;
      if (value->is_array() && !value->empty()) value = &value->front();  // one entry a layer: the first stands for all
      if (!value->is_number_integer() || *value < 1 || *value > kMostSize) {
        return fail(ErrorCode::invalid_argument, fmt::format("{}: {} is {}, it must be a whole number from 1 to {}",
                                                             origin_, key, shown(*value), kMostSize));
      }
      return std::optional<std::int64_t>(value->get<std::int64_t>());
    }
    return std::optional<std::int64_t>{};
  }

  Status read_experts(ModelSpec& spec) {
    const auto experts = size({"num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"});
    if (!experts) return fail(experts.error());
    if (!*experts || **experts == 1) {
      spec.notices.push_back(fmt::format(
          "{} is a dense model: its hidden size and dtype are used, the experts are the defaults", origin_));
      return {};
    }
    const auto top_k = size({"num_experts_per_tok", "experts_per_token", "moe_top_k", "moe_topk", "moe_k"});
    if (!top_k) return fail(top_k.error());
    const auto width = size({"moe_intermediate_size", "intermediate_size", "ffn_hidden_size"});
    if (!width) return fail(width.error());
    spec.experts = *experts;
    spec.top_k = *top_k;
    spec.intermediate = *width;
    return {};
  }

  Status read_dtype(ModelSpec& spec) {
    const Json* value = find("torch_dtype");
    if (value == nullptr) value = find("dtype");
    if (value == nullptr) {
      spec.dtype = DType::bfloat16;
      spec.notices.push_back(fmt::format("{} names no dtype: bfloat16 is taken", origin_));
      return {};
    }
    std::string text = value->is_string() ? value->get<std::string>() : std::string();
    if (text.starts_with("torch.")) text = text.substr(6);
    for (const auto& [known, dtype] : {std::pair{"float16", DType::float16},
                                       {"half", DType::float16},
                                       {"bfloat16", DType::bfloat16},
                                       {"float32", DType::float32},
                                       {"float", DType::float32}}) {
      if (text != known) continue;
      spec.dtype = dtype;
      return {};
    }
    return fail(ErrorCode::unsupported, fmt::format("{}: dtype {} is not supported; float16, bfloat16 and float32 are",
                                                    origin_, shown(*value)));
  }

  [[nodiscard]] tl::unexpected<Error> refuse_scheme(const std::string& scheme) const {
    const std::string text = shown(scheme);  // escaped: a name from outside must not break the line
    return fail(ErrorCode::unsupported,
                fmt::format("{}: quantisation scheme '{}' is not supported; fp8, compressed-tensors (8 bit), w8a8_int8 "
                            "and modelopt FP8 are",
                            origin_, text.substr(1, text.size() - 2)));
  }

  static std::string text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  }

  Status read_quantisation(ModelSpec& spec) {
    const Json* value = find("quantization_config");
    if (value == nullptr) value = find("compression_config");
    if (value == nullptr) return {};
    if (!value->is_object()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: quantization_config is {}, it must be an object", origin_, shown(*value)));
    }
    const std::string method = text_of(*value, "quant_method");
    if (method == "fp8") return read_fp8(*value, spec);
    if (method == "compressed-tensors") return read_compressed_tensors(*value, spec);
    if (method == "w8a8_int8") {
      spec.dtype = DType::int8_w8a8;
      return {};
    }
    if (method == "modelopt") {
      const std::string algorithm = text_of(*value, "quant_algo");
      if (algorithm != "FP8") return refuse_scheme("modelopt " + algorithm);
      spec.dtype = DType::fp8_w8a8;
      spec.scales = Scales::per_tensor;
      return {};
    }
    return refuse_scheme(method.empty() ? "without a quant_method" : method);
  }

  [[nodiscard]] Result<BlockShape> read_block(const Json& value, const char* key) const {
    const auto good = [](const Json& x) { return x.is_number_integer() && x >= 1 && x <= kMostSize; };
    if (!value.is_array() || value.size() != 2 || !good(value[0]) || !good(value[1])) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: {} is {}, it must be two whole numbers from 1", origin_, key, shown(value)));
    }
    return BlockShape{value[0].get<std::int64_t>(), value[1].get<std::int64_t>()};
  }

  Status read_fp8(const Json& value, ModelSpec& spec) {
    spec.dtype = DType::fp8_w8a8;
    const auto block = value.find("weight_block_size");
    if (block == value.end() || block->is_null()) {
      spec.scales = Scales::per_tensor;
      return {};
    }
    const auto shape = read_block(*block, "weight_block_size");
    if (!shape) return fail(shape.error());
    spec.block_shape = *shape;
    return {};
  }

  Status read_compressed_tensors(const Json& value, ModelSpec& spec) {
    const auto groups = value.find("config_groups");
    if (groups == value.end() || !groups->is_object() || groups->empty() || !groups->front().is_object() ||
        !groups->front().contains("weights") || !groups->front()["weights"].is_object()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: quantization_config.config_groups must hold a group with weights", origin_));
    }
    const Json& group = groups->front();
    const Json& weights = group["weights"];
    const std::string type = text_of(weights, "type");
    const std::string strategy = text_of(weights, "strategy");
    const auto bits = weights.find("num_bits");
    const std::string scheme = fmt::format("compressed-tensors {} {} bit {}", type,
                                           bits == weights.end() ? "unknown" : shown(*bits), strategy);
    if (bits == weights.end() || *bits != 8 || (type != "float" && type != "int")) return refuse_scheme(scheme);
    const auto inputs = group.find("input_activations");
    const bool quantised_inputs = inputs != group.end() && inputs->is_object();
    if (type == "float") {
      if (!quantised_inputs) return refuse_scheme(scheme + " without input activations");
      spec.dtype = DType::fp8_w8a8;
    } else {
      spec.dtype = quantised_inputs ? DType::int8_w8a8 : DType::int8_w8a16;
    }
    return read_strategy(weights, strategy, scheme, spec);
  }

  Status read_strategy(const Json& weights, const std::string& strategy, const std::string& scheme, ModelSpec& spec) {
    if (strategy == "block") {
      const auto block = weights.find("block_structure");
      const auto shape = read_block(block == weights.end() ? Json() : *block, "block_structure");
      if (!shape) return fail(shape.error());
      spec.block_shape = *shape;
      return {};
    }
    if (strategy == "channel") {
      if (spec.dtype == DType::fp8_w8a8) spec.scales = Scales::per_token_channel;
      return {};
    }
    // One scale for int8 weights is a channel scale that repeats.
    if (strategy == "tensor") {
      if (spec.dtype == DType::fp8_w8a8) spec.scales = Scales::per_tensor;
      return {};
    }
    return refuse_scheme(scheme);
  }

  std::string_view origin_;
  std::vector<const Json*> sections_;
};

}  // namespace

Result<ModelSpec> parse_model_config(std::string_view text, std::string_view origin) {
  const auto document = parse_document(text, origin);
  if (!document) return fail(document.error());
  return ModelReader(*document, origin).read();
}

Result<ModelSpec> load_model(const std::string& model) {
  const auto text = find_model_config(model);
  if (!text) return fail(text.error());
  return parse_model_config(*text, model);
}

}  // namespace expertile

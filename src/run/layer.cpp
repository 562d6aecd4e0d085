#include "run/layer.hpp"

#include <fmt/format.h>

#include "problem/model.hpp"
#include "run/option_values.hpp"

namespace expertile::run {
namespace {

constexpr std::int64_t kDefaultHiddenSize = 4096;
constexpr std::int64_t kDefaultExperts = 8;
constexpr std::int64_t kDefaultTopK = 2;

// The options that say something of the layer, before anything is derived from them.
struct Given {
  std::optional<std::int64_t> hidden_size, expert_hidden_size, experts, top_k, intermediate;
  std::optional<ModelActivation> activation;
  std::optional<bool> is_gated;
  std::optional<DType> dtype;  // none: the model's, or the default
  std::optional<BlockShape> block_shape;
  std::optional<Scales> scales;
};

Status parse_sizes(const TextOptions& text, Given& given) {
  struct Field {
    const char* option;
    const std::optional<std::string>& text;
    std::optional<std::int64_t>& value;
  };
  const Field fields[] = {{"--hidden-size", text.hidden_size, given.hidden_size},
                          {"--expert-hidden-size", text.expert_hidden_size, given.expert_hidden_size},
                          {"--num-experts", text.num_experts, given.experts},
                          {"--top-k", text.top_k, given.top_k},
                          {"--intermediate-size", text.intermediate_size, given.intermediate}};
  for (const Field& field : fields) {
    const auto value = parse_optional_size(field.option, field.text);
    if (!value) return fail(value.error());
    field.value = *value;
  }
  return {};
}

Status parse_activation(const TextOptions& text, Given& given) {
  if (text.activation) {
    given.activation = activation_named(*text.activation);
    if (!given.activation) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--activation '{}' is not known; choose {}", *text.activation, activation_choices()));
    }
  }
  if (!text.gated) return {};
  if (*text.gated != "yes" && *text.gated != "no") {
    return fail(ErrorCode::invalid_argument, fmt::format("--gated '{}' is not known; choose yes or no", *text.gated));
  }
  given.is_gated = *text.gated == "yes";
  return {};
}

Result<std::optional<DType>> parse_dtype_option(const TextOptions& text) {
  if (!text.dtype || (*text.dtype == "auto" && text.model)) return std::optional<DType>{};
  if (*text.dtype == "auto") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--dtype 'auto' takes the model's dtype; give --model too, or {}", dtype_choices()));
  }
  const auto dtype = parse_dtype(*text.dtype);
  if (!dtype) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--dtype '{}' is not known; choose auto, {}", *text.dtype, dtype_choices()));
  }
  return std::optional<DType>{*dtype};
}

Result<Given> parse_given(const TextOptions& text) {
  Given given;
  if (auto status = parse_sizes(text, given); !status) return fail(status.error());
  if (auto status = parse_activation(text, given); !status) return fail(status.error());
  const auto dtype = parse_dtype_option(text);
  if (!dtype) return fail(dtype.error());
  given.dtype = *dtype;
  const auto block_shape = parse_block_shape(text.block_shape);
  if (!block_shape) return fail(block_shape.error());
  given.block_shape = *block_shape;
  const auto scales = parse_scales(text.scales);
  if (!scales) return fail(scales.error());
  given.scales = *scales;
  return given;
}

// The option's value where it is given, else the model's, which may be an error that names the option.
template <class T>
Result<T> chosen(const std::optional<T>& given, const Result<T>& of_model) {
  return given ? Result<T>(*given) : of_model;
}

// Of experts that nothing but the options describes. The hidden size is known.
void take_default_experts(const Given& given, Layer& layer) {
  layer.experts = given.experts.value_or(kDefaultExperts);
  layer.top_k = given.top_k.value_or(kDefaultTopK);
  layer.intermediate = given.intermediate.value_or(layer.hidden_size / 2);
}

// The sizes of an expert, of a model that has any.
Status take_experts(const Given& given, const ModelSpec& model, Layer& layer) {
  const auto top_k = chosen(given.top_k, model.top_k);
  if (!top_k) return fail(top_k.error());
  const auto intermediate = chosen(given.intermediate, model.intermediate);
  if (!intermediate) return fail(intermediate.error());
  layer.top_k = *top_k;
  layer.intermediate = *intermediate;
  if (given.expert_hidden_size) return {};
  if (!model.expert_hidden_size) return fail(model.expert_hidden_size.error());
  layer.expert_hidden_size = model.expert_hidden_size->value_or(layer.hidden_size);
  return {};
}

Status take_sizes(const Given& given, const ModelSpec& model, Layer& layer, std::vector<std::string>& notices) {
  if (model.hidden_size) {
    layer.hidden_size = *model.hidden_size;
    if (given.hidden_size) {
      notices.push_back(fmt::format("--hidden-size {} is ignored: the model's hidden size is {}", *given.hidden_size,
                                    layer.hidden_size));
    }
  } else if (given.hidden_size) {
    layer.hidden_size = *given.hidden_size;
  } else {
    return fail(model.hidden_size.error());
  }
  layer.expert_hidden_size = given.expert_hidden_size.value_or(layer.hidden_size);
  if (!model.experts && !given.experts) return fail(model.experts.error());
  const bool is_dense = model.experts && !*model.experts;
  if (is_dense) {
    take_default_experts(given, layer);
    return {};
  }
  layer.experts = given.experts ? *given.experts : **model.experts;
  return take_experts(given, model, layer);
}

std::string as_options(const Given& given) {
  std::string text = fmt::format("--dtype {}", name(*given.dtype));
  if (given.block_shape) text += fmt::format(" --block-shape {},{}", given.block_shape->n, given.block_shape->k);
  if (given.scales) text += fmt::format(" --scales {}", name(*given.scales));
  return text;
}

// With --dtype: the sizes are the model's, the scheme is the options', unless both are of one mind.
void take_given_scheme(const Given& given, const ModelSpec& model, Layer& layer, std::vector<std::string>& notices) {
  layer.dtype = *given.dtype;
  layer.block_shape = given.block_shape;
  const bool is_quantised = model.quantisation && model.quantisation->scheme;
  if (is_quantised && model.quantisation->scheme->dtype == *given.dtype && !given.block_shape && !given.scales) {
    layer.block_shape = model.quantisation->scheme->block_shape;
    layer.scales = model.quantisation->scheme->scales;
    return;
  }
  if (!model.quantisation) {
    notices.push_back(fmt::format("the sizes are the model's, the scheme is {}: {}", as_options(given),
                                  model.quantisation.error().message));
  } else if (is_quantised) {
    notices.push_back(fmt::format("the sizes are the model's, the scheme is {}, not the checkpoint's, which is {}",
                                  as_options(given), model.quantisation->words));
  } else if (!model.dtype || *model.dtype != *given.dtype) {
    notices.push_back(fmt::format("the sizes are the model's, the scheme is {}", as_options(given)));
  }
}

// Without --dtype: what the experts have in the checkpoint.
Status take_model_scheme(const Given& given, const ModelSpec& model, Layer& layer, std::vector<std::string>& notices) {
  if (!model.quantisation) return fail(model.quantisation.error());
  if (const auto& scheme = model.quantisation->scheme) {
    layer.dtype = scheme->dtype;
    layer.scales = scheme->scales;
    layer.block_shape = scheme->block_shape;
  } else {
    if (!model.dtype) return fail(model.dtype.error());
    layer.dtype = *model.dtype;
    if (!model.names_dtype) notices.push_back(fmt::format("{} names no dtype: bfloat16 is taken", model.name));
  }
  notices.insert(notices.end(), model.quantisation->notices.begin(), model.quantisation->notices.end());
  if (!given.block_shape) return {};
  if (layer.block_shape) {
    notices.push_back(fmt::format("--block-shape {},{} is ignored: the model's own is {},{}", given.block_shape->n,
                                  given.block_shape->k, layer.block_shape->n, layer.block_shape->k));
    return {};
  }
  layer.block_shape = given.block_shape;
  layer.scales.reset();  // blocks replace the coarser scales that the model names
  return {};
}

Status take_model(const TextOptions& text, const Given& given, Layer& layer, std::vector<std::string>& notices) {
  const auto model = load_model(*text.model);
  if (!model) return fail(model.error());
  notices.insert(notices.end(), model->notices.begin(), model->notices.end());
  if (auto status = take_sizes(given, *model, layer, notices); !status) return status;
  layer.activation = model->activation;
  const bool is_said = given.activation || given.is_gated;
  if (!is_said && !model->activation_notice.empty()) notices.push_back(model->activation_notice);
  if (!given.dtype) return take_model_scheme(given, *model, layer, notices);
  take_given_scheme(given, *model, layer, notices);
  return {};
}

Status take_scales(const Given& given, Layer& layer) {
  if (!given.scales) return {};
  layer.scales = given.scales;
  const bool is_block = *given.scales == Scales::block;
  if (is_block == layer.block_shape.has_value()) return {};
  if (is_block) {
    return fail(ErrorCode::invalid_argument, "--scales 'block' needs to know the block; give --block-shape N,K too");
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("--scales '{}' cannot go with the block shape {},{}; give block, or --dtype without a block",
                          name(*given.scales), layer.block_shape->n, layer.block_shape->k));
}

}  // namespace

Result<Layer> make_layer(const TextOptions& text, std::vector<std::string>& notices) {
  const auto given = parse_given(text);
  if (!given) return fail(given.error());
  Layer layer;
  if (text.model) {
    if (auto status = take_model(text, *given, layer, notices); !status) return fail(status.error());
  } else {
    layer.hidden_size = given->hidden_size.value_or(kDefaultHiddenSize);
    layer.expert_hidden_size = given->expert_hidden_size.value_or(layer.hidden_size);
    take_default_experts(*given, layer);
    layer.dtype = given->dtype.value_or(DType::float16);
    layer.block_shape = given->block_shape;
  }
  if (given->activation) layer.activation = *given->activation;
  if (given->is_gated) layer.activation.is_gated = *given->is_gated;
  if (auto status = take_scales(*given, layer); !status) return fail(status.error());
  if (layer.intermediate < 1) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--intermediate-size defaults to half of hidden size {}, which is 0; give "
                            "--intermediate-size",
                            layer.hidden_size));
  }
  if (layer.top_k > layer.experts) {
    return fail(ErrorCode::invalid_argument, fmt::format("--top-k '{}' is more than the {} experts; give at most {}",
                                                         layer.top_k, layer.experts, layer.experts));
  }
  return layer;
}

Result<std::vector<NamedProblem>> make_problems(const Layer& layer, const TextOptions& text) {
  const char* first = layer.activation.is_gated ? "gate_up" : "up";
  const std::string wanted = text.projection.value_or("both");
  if (wanted != first && wanted != "down" && wanted != "both") {
    const bool is_other = wanted == "gate_up" || wanted == "up";
    return fail(ErrorCode::invalid_argument,
                is_other
                    ? fmt::format("--projection '{}' is not there: the experts have {} gate; choose {}, down or both",
                                  wanted, layer.activation.is_gated ? "a" : "no", first)
                    : fmt::format("--projection '{}' is not known; choose {}, down or both", wanted, first));
  }
  Problem problem;
  problem.experts = layer.experts;
  problem.dtype = layer.dtype;
  problem.block_shape = layer.block_shape;
  problem.scales = layer.scales;
  problem.top_k = layer.top_k;
  problem.hidden_size = layer.hidden_size;
  problem.tf32 = text.tf32;
  std::vector<NamedProblem> problems;
  if (wanted != "down") {
    problem.n = (layer.activation.is_gated ? 2 : 1) * layer.intermediate;
    problem.k = layer.expert_hidden_size;
    problems.push_back({first, problem, layer.activation});
  }
  if (wanted == "down" || wanted == "both") {
    problem.n = layer.expert_hidden_size;
    problem.k = layer.intermediate;
    problems.push_back({"down", problem, layer.activation});
  }
  for (const NamedProblem& one : problems) {
    if (auto status = validate(one.problem); !status) return fail(status.error());
  }
  return problems;
}

}  // namespace expertile::run

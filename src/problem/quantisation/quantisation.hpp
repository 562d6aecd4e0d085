#pragma once
// The quantisation of a model's routed experts, out of config.json and what lies beside it. What counts is what the
// experts' projections get, whatever else the file quantises.

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"
#include "expertile/types.hpp"

namespace expertile {

// How the routed experts are quantised, as the kernels take it.
struct ExpertScheme {
  DType dtype = DType::fp8_w8a8;
  Scales scales = Scales::per_tensor;
  std::optional<BlockShape> block_shape{};
  friend bool operator==(const ExpertScheme&, const ExpertScheme&) = default;
};

struct Quantisation {
  std::optional<ExpertScheme> scheme{};  // none: the experts are left in the model's own dtype
  std::string words;           // as users know it: "compressed-tensors float 8 bit channel"; empty without a section
  bool static_inputs = false;  // the scales of activations lie in the checkpoint
  std::vector<std::string> notices;  // one line each, beginning with origin
};

// root: config.json; beside: hf_quant_config.json or nullptr. Every line begins with origin. The error is unsupported
// for a scheme that the kernels lack, or where no scheme has three quarters of the layers, and names it and the options
// that help; it is invalid_argument for a section that cannot be read, and names the field. Never throws on either
// document; work is bounded by their size.
[[nodiscard]] Result<Quantisation> read_quantisation(const nlohmann::json& root, const nlohmann::json* beside,
                                                     std::string_view origin);

namespace quantisation {
enum class Outcome;
}

// How a format says a scheme, and what that becomes here.
struct SchemeRow {
  std::string_view format;  // quant_method, or the field that overrules it
  std::string_view said;    // the scheme in the format's own words
  quantisation::Outcome outcome;
  std::string_view becomes;  // "fp8_w8a8 block", "refused"
  std::string_view note;     // of a refusal: what the scheme is, "4 bit"; may be empty
};

// Every scheme that is known by name, format by format: for docs.
[[nodiscard]] std::span<const SchemeRow> scheme_rows();

}  // namespace expertile

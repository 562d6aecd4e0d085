#pragma once
// The names under which published configurations say the same thing. A new name is one word in one row.
//
// Collected from the configuration classes and model files of transformers 5.24, SGLang 0.5.23 and vLLM 0.33.

#include <span>
#include <string_view>

namespace expertile::model {

// One thing that is read of a configuration.
struct Meaning {
  std::string_view what;                     // as a message says it
  std::string_view option;                   // of the command line, that says it instead
  std::span<const std::string_view> fields;  // the preferred one first; where two are there, they must agree
  std::string_view where;                    // what the fields hold for, beyond the section with the experts; for docs
};

extern const Meaning kHiddenSize;
extern const Meaning kExperts;
extern const Meaning kTopK;
extern const Meaning kWidth;             // the experts' own name for it
extern const Meaning kSharedWidth;       // a name that dense layers may have, too: see has_dense_width
extern const Meaning kOlderWidth;        // of encoders and of models before there were other names
extern const Meaning kWidthInFfnConfig;  // inside ffn_config alone
extern const Meaning kExpertHiddenSize;
extern const Meaning kActivation;

// All of them, in the order of the documentation.
[[nodiscard]] std::span<const Meaning* const> meanings();

// Where models of more than text keep the language model's configuration.
[[nodiscard]] std::span<const std::string_view> text_sections();

// Beside one of these, kSharedWidth is the experts'.
[[nodiscard]] std::span<const std::string_view> fields_of_dense_width();
// Beside one of these (and none of the above), kSharedWidth is that of dense layers or of shared experts.
[[nodiscard]] std::span<const std::string_view> fields_of_dense_layers();
// A model in which one of these is false has no experts, whatever their number.
[[nodiscard]] std::span<const std::string_view> fields_that_switch_experts();

// Whether a field looks as if it said something of the routed experts' sizes and is not known to mean something else.
[[nodiscard]] bool looks_like_experts(std::string_view field);

}  // namespace expertile::model

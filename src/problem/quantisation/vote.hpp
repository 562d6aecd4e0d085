#pragma once
// What a format says layer by layer -> what the experts of the model have.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "expertile/error.hpp"
#include "problem/quantisation/answer.hpp"

namespace expertile::quantisation {

using LayerAnswers = std::vector<std::pair<std::int64_t, Answer>>;  // by the layer's number; not empty

// The answer that at least three quarters of the layers have; others are told of. Layers that the file is silent of
// count only where it is silent of all. counted: there are as many layers as there are answers, and notices may say so.
// Lines begin with origin. The error is unsupported: a scheme that the kernels lack, or no answer of most layers.
[[nodiscard]] Result<Quantisation> decide(const LayerAnswers& answers, bool counted, std::string_view method,
                                          std::string_view origin);

// "origin: quantisation scheme 'words' (note) is not supported; give --dtype ..."
[[nodiscard]] tl::unexpected<Error> refuse_scheme(std::string_view words, std::string_view note,
                                                  std::string_view origin);

}  // namespace expertile::quantisation

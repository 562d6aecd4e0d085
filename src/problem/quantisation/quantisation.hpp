#pragma once
// placeholder until merge
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/problem.hpp"
namespace expertile {
struct ExpertScheme {
  DType dtype;
  Scales scales;
  std::optional<BlockShape> block_shape;
};
struct Quantisation {
  std::optional<ExpertScheme> scheme;
  std::string words;
  bool static_inputs = false;
  std::vector<std::string> notices;
};
[[nodiscard]] Result<Quantisation> read_quantisation(const nlohmann::json& root, const nlohmann::json* beside,
                                                     std::string_view origin);
}  // namespace expertile

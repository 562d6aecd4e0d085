#pragma once
// A group of a compressed-tensors section: what its arguments say, with the format's own defaults filled in.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expertile/error.hpp"
#include "problem/quantisation/answer.hpp"
#include "problem/quantisation/section.hpp"

namespace expertile::quantisation {

// The arguments of weights or of input activations.
struct TensorArguments {
  std::string type = "int";  // or "float"
  std::int64_t bits = 8;
  std::vector<std::pair<std::string, std::int64_t>> bits_by_name{};  // by a part of the module's name, instead of bits
  std::string strategy = "tensor";
  std::optional<std::int64_t> group_size{};
  std::optional<BlockShape> block{};
  bool symmetric = true;
  bool dynamic = false;
  bool reordered = false;  // groups are not of neighbours
};

struct Group {
  TensorArguments weights;
  std::optional<TensorArguments> inputs;
  std::vector<std::string> targets;
  std::string where;  // "model: quantization_config.config_groups.group_0"
};

// section: one of config_groups under its name. A list is the targets of the scheme that the name is.
[[nodiscard]] Result<Group> read_group(const Section& groups, const std::string& name);

// What the group is for the experts' module, one of whose names is given.
[[nodiscard]] Result<Answer> answer_of_group(const Group& group, std::string_view module);

}  // namespace expertile::quantisation

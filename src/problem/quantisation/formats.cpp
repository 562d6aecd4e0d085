#include "problem/quantisation/formats.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace expertile::quantisation {
namespace {

struct Method {
  std::string_view name;
  Reader read;
};

constexpr Method kMethods[] = {
    {"fp8", read_fp8},
    {"mxfp8", read_fp8},
    {"w8a8_fp8", read_eight_bit},
    {"w8a8_int8", read_eight_bit},
    {"auto-round-int8", read_eight_bit},
    {"blockwise_int8", read_eight_bit},
    {"fbgemm_fp8", read_eight_bit},
    {"compressed-tensors", read_compressed_tensors},
    {"modelopt", read_modelopt},
    {"modelopt_fp8", read_modelopt},
    {"modelopt_fp4", read_modelopt},
    {"modelopt_mixed", read_modelopt},
    {"modelopt_mxfp8", read_modelopt},
    {"quark", read_quark},
    {"gptq", read_gptq},
    {"gptq_marlin", read_gptq},
    {"auto_gptq", read_gptq},
    {"auto-round", read_auto_round},
    {"auto_round", read_auto_round},
    {"inc", read_auto_round},
    {"awq", read_awq},
    {"awq_marlin", read_awq},
    {"torchao", read_torchao},
    {"bitsandbytes", read_bitsandbytes},
};

// The first "_type" below quant_type: {"default": {"_type": ...}} or {"_type": ...}.
std::string torchao_type(const nlohmann::json* type) {
  for (int depth = 0; type != nullptr && depth < 2; ++depth) {
    if (type->is_string()) return type->get<std::string>();
    const nlohmann::json* name = find_member(*type, "_type");
    if (name != nullptr && name->is_string()) return name->get<std::string>();
    type = find_member(*type, "default");
  }
  return {};
}

}  // namespace

Reader find_reader(std::string_view method) {
  const auto* found = std::ranges::find(kMethods, method, &Method::name);
  return found == std::end(kMethods) ? read_unknown : found->read;
}

FormatResult read_unknown(const Source& source) { return constant(answer_by_row(source.method, "", source.method)); }

FormatResult read_torchao(const Source& source) {
  const std::string type = torchao_type(source.section.find("quant_type"));
  return constant(refused(type.empty() ? "torchao" : fmt::format("torchao {}", type)));
}

FormatResult read_bitsandbytes(const Source& source) {
  for (const char* key : {"load_in_4bit", "_load_in_4bit", "load_in_8bit", "_load_in_8bit"}) {
    const auto loads = source.section.flag(key, false);
    if (!loads) return fail(loads.error());
    if (!*loads) continue;
    const std::string_view said = std::string_view(key).substr(key[0] == '_' ? 1 : 0);
    return constant(answer_by_row("bitsandbytes", said, fmt::format("bitsandbytes {}", said)));
  }
  return constant(refused("bitsandbytes"));
}

}  // namespace expertile::quantisation

#include "problem/quantisation/scheme_table.hpp"

#include <algorithm>
#include <utility>

namespace expertile::quantisation {
namespace {

struct OutcomeRow {
  Outcome outcome;
  DType dtype;
  Scales scales;
  std::string_view text;
};

constexpr OutcomeRow kOutcomes[] = {
    {Outcome::fp8_per_tensor, DType::fp8_w8a8, Scales::per_tensor, "fp8_w8a8 per_tensor"},
    {Outcome::fp8_per_token_channel, DType::fp8_w8a8, Scales::per_token_channel, "fp8_w8a8 per_token_channel"},
    {Outcome::fp8_block, DType::fp8_w8a8, Scales::block, "fp8_w8a8 block n x k"},
    {Outcome::int8_per_token_channel, DType::int8_w8a8, Scales::per_token_channel, "int8_w8a8 per_token_channel"},
    {Outcome::int8_block, DType::int8_w8a8, Scales::block, "int8_w8a8 block n x k"},
    {Outcome::w8a16_per_channel, DType::int8_w8a16, Scales::per_channel, "int8_w8a16 per_channel"},
    {Outcome::w8a16_group, DType::int8_w8a16, Scales::block, "int8_w8a16 block 1 x group"},
    {Outcome::w8a16_block, DType::int8_w8a16, Scales::block, "int8_w8a16 block n x k"},
};

constexpr const OutcomeRow* find_outcome(Outcome outcome) {
  for (const OutcomeRow& row : kOutcomes) {
    if (row.outcome == outcome) return &row;
  }
  return nullptr;
}

constexpr SchemeRow becomes(std::string_view format, std::string_view said, Outcome outcome) {
  return {format, said, outcome, find_outcome(outcome)->text, {}};
}

constexpr SchemeRow refuses(std::string_view format, std::string_view said, std::string_view note = {}) {
  return {format, said, Outcome::refused, "refused", note};
}

constexpr std::string_view kFourBit = "4 bit";
constexpr std::string_view kTwoSchemes = "the scales of weights and of inputs do not go together";
constexpr std::string_view kOnline = "made while an engine loads 16 bit weights";
constexpr std::string_view kMxFp8 = "MXFP8";

// A method's own row has nothing said: how it is used tells nothing more.
constexpr SchemeRow kRows[] = {
    becomes("fp8", "weight_block_size [n, k]", Outcome::fp8_block),
    becomes("fp8", "no weight_block_size", Outcome::fp8_per_tensor),
    refuses("fp8", "weight_block_size [n, k], activation_scheme static", kTwoSchemes),
    refuses("fp8", "weight_block_size [1, 32]", kMxFp8),
    refuses("fp8", "fmt e5m2"),
    refuses("mxfp8", "", kMxFp8),
    refuses("mxfp4", "", "MXFP4, 4 bit"),
    becomes("w8a8_fp8", "", Outcome::fp8_per_token_channel),
    becomes("fbgemm_fp8", "", Outcome::fp8_per_token_channel),
    becomes("w8a8_int8", "", Outcome::int8_per_token_channel),
    becomes("auto-round-int8", "", Outcome::int8_per_token_channel),
    becomes("blockwise_int8", "weight_block_size [n, k]", Outcome::int8_block),

    // Fields that overrule quant_method for the experts; moe_quant_algo has ModelOpt's words.
    refuses("expert_dtype", "fp4", "MXFP4, 4 bit"),
    refuses("expert_dtype", "mxfp4", "MXFP4, 4 bit"),
    refuses("routed_experts_quant_method", "mxfp4", "MXFP4, 4 bit"),
    refuses("store_dtype", "mxfp4", "MXFP4, 4 bit"),

    becomes("compressed-tensors", "float 8 bit tensor, inputs float 8 bit tensor", Outcome::fp8_per_tensor),
    becomes("compressed-tensors", "float 8 bit channel, inputs float 8 bit token", Outcome::fp8_per_token_channel),
    becomes("compressed-tensors", "float 8 bit block, inputs float 8 bit dynamic", Outcome::fp8_block),
    refuses("compressed-tensors", "float 8 bit channel, inputs float 8 bit tensor", kTwoSchemes),
    refuses("compressed-tensors", "float 8 bit tensor, inputs float 8 bit token", kTwoSchemes),
    refuses("compressed-tensors", "float 8 bit group", kMxFp8),
    becomes("compressed-tensors", "int 8 bit channel, inputs int 8 bit token", Outcome::int8_per_token_channel),
    becomes("compressed-tensors", "int 8 bit tensor, inputs int 8 bit token", Outcome::int8_per_token_channel),
    becomes("compressed-tensors", "int 8 bit block, inputs int 8 bit dynamic", Outcome::int8_block),
    becomes("compressed-tensors", "int 8 bit channel, inputs none", Outcome::w8a16_per_channel),
    becomes("compressed-tensors", "int 8 bit tensor, inputs none", Outcome::w8a16_per_channel),
    becomes("compressed-tensors", "int 8 bit group, inputs none", Outcome::w8a16_group),
    becomes("compressed-tensors", "int 8 bit block, inputs none", Outcome::w8a16_block),
    refuses("compressed-tensors", "float 4 bit tensor_group", "NVFP4"),
    refuses("compressed-tensors", "float 4 bit group", "MXFP4"),
    refuses("compressed-tensors", "nvfp4-pack-quantized", "NVFP4, 4 bit"),
    refuses("compressed-tensors", "mxfp4-pack-quantized", "MXFP4, 4 bit"),

    becomes("modelopt", "FP8", Outcome::fp8_per_tensor),
    becomes("modelopt", "FP8_PER_CHANNEL_PER_TOKEN", Outcome::fp8_per_token_channel),
    becomes("modelopt", "FP8_PB_WO", Outcome::fp8_block),
    becomes("modelopt", "FP8_BLOCK_SCALES", Outcome::fp8_block),
    refuses("modelopt", "NVFP4", kFourBit),
    refuses("modelopt", "W4A16_NVFP4", kFourBit),
    refuses("modelopt", "NVFP4_AWQ", kFourBit),
    refuses("modelopt", "NVFP4_SVD", kFourBit),
    refuses("modelopt", "W4A8_NVFP4_FP8", kFourBit),
    refuses("modelopt", "W4A8_MXFP4_FP8", kFourBit),
    refuses("modelopt", "MXFP4", kFourBit),
    refuses("modelopt", "W4A16_AWQ", kFourBit),
    refuses("modelopt", "W4A8_AWQ", kFourBit),
    refuses("modelopt", "INT4_AWQ", kFourBit),
    refuses("modelopt", "MXFP8"),
    refuses("modelopt", "W8A16"),
    refuses("modelopt", "W8A8_SQ_PER_CHANNEL", "inputs are scaled before they are quantised"),
    refuses("modelopt", "MIXED_PRECISION without quantized_layers"),

    becomes("quark", "fp8_e4m3 per_tensor, inputs fp8_e4m3 per_tensor", Outcome::fp8_per_tensor),
    becomes("quark", "fp8_e4m3 per_channel, inputs fp8_e4m3 per_token", Outcome::fp8_per_token_channel),
    becomes("quark", "fp8_e4m3 per_block, inputs fp8_e4m3 per_group", Outcome::fp8_block),
    refuses("quark", "fp8_e4m3 per_channel, inputs fp8_e4m3 per_tensor", kTwoSchemes),
    refuses("quark", "fp8_e4m3 per_tensor, inputs fp8_e4m3 per_token", kTwoSchemes),
    refuses("quark", "fp8_e4m3 per_group", kMxFp8),
    becomes("quark", "int8 per_channel, inputs int8 per_token", Outcome::int8_per_token_channel),
    becomes("quark", "int8 per_tensor, inputs int8 per_token", Outcome::int8_per_token_channel),
    becomes("quark", "int8 per_channel, inputs none", Outcome::w8a16_per_channel),
    becomes("quark", "int8 per_tensor, inputs none", Outcome::w8a16_per_channel),
    refuses("quark", "fp4 per_group", kFourBit),
    refuses("quark", "int4 per_channel", kFourBit),
    refuses("quark", "int4 per_group", kFourBit),
    refuses("quark", "uint4 per_group", kFourBit),
    refuses("quark_mxfp4", "", kFourBit),
    refuses("quark_int4fp8_moe", "", kFourBit),

    becomes("gptq", "8 bit, sym, group_size -1", Outcome::w8a16_per_channel),
    becomes("gptq", "8 bit, sym, group_size g", Outcome::w8a16_group),
    refuses("gptq", "4 bit"),
    refuses("gptq", "8 bit, not sym", "weights have zero points"),
    refuses("gptq", "8 bit, desc_act", "groups are not of neighbours"),
    becomes("auto-round", "8 bit, sym, group_size -1", Outcome::w8a16_per_channel),
    becomes("auto-round", "8 bit, sym, group_size g", Outcome::w8a16_group),
    becomes("auto-round", "data_type fp, 8 bit, group_size [n, k]", Outcome::fp8_block),
    refuses("auto-round", "4 bit"),
    refuses("auto-round", "8 bit, not sym", "weights have zero points"),
    refuses("awq", "4 bit"),

    refuses("bitsandbytes", "load_in_4bit", kFourBit),
    refuses("bitsandbytes", "load_in_8bit", "outliers stay in 16 bit"),
    refuses("torchao", ""),
    refuses("w4afp8", "", kFourBit),
    refuses("petit_nvfp4", "", kFourBit),
    refuses("nvfp4", "", kFourBit),
    refuses("minimax_m3_nvfp4", "", kFourBit),
    refuses("fp_quant", "", kFourBit),
    refuses("experts_int8", "", kOnline),
    refuses("moe_wna16", ""),
    refuses("modelslim", ""),
    refuses("hqq", ""),
    refuses("eetq", ""),
    refuses("quanto", ""),
    refuses("vptq", ""),
    refuses("aqlm", ""),
    refuses("higgs", ""),
    refuses("spqr", ""),
    refuses("bitnet", ""),
    refuses("gguf", ""),
    refuses("exl2", ""),
    refuses("exl3", ""),
    refuses("sinq", ""),
    refuses("gemma", ""),
};

}  // namespace

const SchemeRow* find_scheme(std::string_view format, std::string_view said) {
  const auto* found =
      std::ranges::find_if(kRows, [&](const SchemeRow& row) { return row.format == format && row.said == said; });
  return found == std::end(kRows) ? nullptr : found;
}

ExpertScheme scheme_of(Outcome outcome, std::optional<BlockShape> block) {
  const OutcomeRow* row = find_outcome(outcome);
  if (row == nullptr) return {};
  return {row->dtype, row->scales, row->scales == Scales::block ? block : std::nullopt};
}

bool has_block(Outcome outcome) {
  const OutcomeRow* row = find_outcome(outcome);
  return row != nullptr && row->scales == Scales::block;
}

}  // namespace expertile::quantisation

namespace expertile {
std::span<const SchemeRow> scheme_rows() { return quantisation::kRows; }
}  // namespace expertile

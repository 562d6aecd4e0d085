#pragma once
// The readers of the formats, one a file, and the table by which a quantisation method finds its reader.

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "expertile/error.hpp"
#include "problem/quantisation/answer.hpp"
#include "problem/quantisation/patterns.hpp"
#include "problem/quantisation/section.hpp"

namespace expertile::quantisation {

// What a reader is given; all of it outlives the format that it makes.
struct Source {
  Section section;
  std::string method;                                      // quant_method, lower case
  const nlohmann::json* beside = nullptr;                  // hf_quant_config.json
  std::array<std::string_view, kProjections> projections;  // "gate_proj", "up_proj", "down_proj"
  Budget* budget = nullptr;                                // of all the file's patterns
};

using FormatResult = Result<std::unique_ptr<Format>>;

// Each reads what is common to all layers; the error is invalid_argument, for a field that cannot be read.
[[nodiscard]] FormatResult read_fp8(const Source& source);        // and mxfp8
[[nodiscard]] FormatResult read_eight_bit(const Source& source);  // w8a8_int8, w8a8_fp8, fbgemm_fp8, blockwise_int8
[[nodiscard]] FormatResult read_compressed_tensors(const Source& source);
[[nodiscard]] FormatResult read_modelopt(const Source& source);
[[nodiscard]] FormatResult read_quark(const Source& source);
[[nodiscard]] FormatResult read_gptq(const Source& source);
[[nodiscard]] FormatResult read_auto_round(const Source& source);
[[nodiscard]] FormatResult read_awq(const Source& source);
[[nodiscard]] FormatResult read_torchao(const Source& source);
[[nodiscard]] FormatResult read_bitsandbytes(const Source& source);

// Of a method that no reader knows: refused by its name, with what the table of schemes knows of it.
[[nodiscard]] FormatResult read_unknown(const Source& source);

// A ModelOpt algorithm, in any case, as a scheme; words is what messages call it.
[[nodiscard]] Answer modelopt_algorithm(std::string_view algorithm, std::int64_t group_size, std::string words);

using Reader = FormatResult (*)(const Source&);
[[nodiscard]] Reader find_reader(std::string_view method);  // never nullptr

}  // namespace expertile::quantisation

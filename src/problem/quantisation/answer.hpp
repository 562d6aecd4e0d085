#pragma once
// What a format says of one layer's experts, and the interface that every format implements.

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "expertile/error.hpp"
#include "problem/quantisation/module_names.hpp"
#include "problem/quantisation/name_list.hpp"
#include "problem/quantisation/quantisation.hpp"
#include "problem/quantisation/scheme_table.hpp"

namespace expertile::quantisation {

struct Answer {
  enum class Kind {
    silent,      // the file lists what is quantised, and nothing of this layer
    left_alone,  // the experts stay in the model's own dtype
    scheme,
    refused,  // a scheme that the kernels lack
  };
  Kind kind = Kind::silent;
  std::string words;   // the scheme by its own name
  std::string note{};  // refused: what that is, "4 bit"
  ExpertScheme scheme{};
  bool static_inputs = false;
  std::string notice{};  // what a user of the scheme should know, without the origin
  friend bool operator==(const Answer&, const Answer&) = default;
};

[[nodiscard]] Answer silent();
[[nodiscard]] Answer left_alone(std::string words);
[[nodiscard]] Answer refused(std::string words, std::string_view note = {});
// By the table's row; block where the row's outcome has one.
[[nodiscard]] Answer answer_of(const SchemeRow& row, std::string words, std::optional<BlockShape> block = {});
// The same by a row's key; refused, without a note, where the table has no such row.
[[nodiscard]] Answer answer_by_row(std::string_view format, std::string_view said, std::string words,
                                   std::optional<BlockShape> block = {});
// For some projections named by a list that leaves them alone and others not.
[[nodiscard]] Answer half_covered(std::string_view format, const Coverage& covered,
                                  const std::array<std::string_view, kProjections>& projections);

// A quantisation section as one format reads it. It keeps views of the document, which outlives it.
class Format {
 public:
  Format() = default;
  Format(const Format&) = delete;
  Format& operator=(const Format&) = delete;
  virtual ~Format() = default;
  // The error is of the section: a field that cannot be read, a pattern.
  [[nodiscard]] virtual Result<Answer> answer(const ExpertLayer& layer) = 0;
};

// A format that says the same of every layer.
[[nodiscard]] std::unique_ptr<Format> constant(Answer answer);

}  // namespace expertile::quantisation

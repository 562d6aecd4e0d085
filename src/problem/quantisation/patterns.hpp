#pragma once
// The two kinds of pattern that quantisers write names of modules in: Python's re, and globs as fnmatch has them.
// Patterns come from outside: what all of one file's may cost together is bounded, the same on every machine.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "expertile/error.hpp"

namespace expertile::quantisation {

inline constexpr std::size_t kMostPatternBytes = 1000;

// Steps that the matching of one file's patterns may still take; a step is a few nanoseconds.
class Budget {
 public:
  explicit Budget(std::int64_t steps = 100'000'000) : left_(steps) {}
  // False where they are used up.
  [[nodiscard]] bool spend(std::int64_t steps) { return (left_ -= steps) >= 0; }

 private:
  std::int64_t left_;
};

enum class Anchor { start, none };  // Python's re.match and re.search

// A regular expression. Errors are one line that begins with where, the field it came from, and names the pattern.
class Regex {
 public:
  [[nodiscard]] static Result<Regex> compile(std::string_view pattern, std::string where, Anchor anchor);
  // Whether it matches at name's start, or anywhere; with to_boundary the match must end where a component does. An
  // error where the pattern backtracks without end or the budget is used up.
  [[nodiscard]] Result<bool> matches(std::string_view name, Budget& budget, bool to_boundary = false) const;

  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  struct Compiled;
  Regex(std::string pattern, std::string where, std::unique_ptr<Compiled> compiled);

  std::string pattern_;
  std::string where_;
  std::unique_ptr<Compiled> compiled_;
};

// A glob: * is any text, dots too, ? one character, [abc], [a-z] and [!abc] one of a set; all of a name must match.
class Glob {
 public:
  [[nodiscard]] static Result<Glob> compile(std::string_view pattern, std::string where);
  [[nodiscard]] Result<bool> matches(std::string_view name, Budget& budget) const;

 private:
  Glob(std::string pattern, std::string where) : pattern_(std::move(pattern)), where_(std::move(where)) {}

  std::string pattern_;
  std::string where_;
};

// Text from outside as a message shows it: escaped, cut after so many bytes, in quotes 'like this'.
[[nodiscard]] std::string in_quotes(std::string_view text, std::size_t most = 60);

}  // namespace expertile::quantisation

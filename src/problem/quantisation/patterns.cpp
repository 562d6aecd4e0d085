#include "problem/quantisation/patterns.hpp"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace expertile::quantisation {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using Match = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using MatchLimits = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;

// Nearly every match takes fewer than the first; what needs more than the last is no pattern of names. Each trial is
// charged in full, so that a file's patterns cannot take more than its budget.
constexpr std::array<std::uint32_t, 4> kStepLimits = {100, 1'000, 10'000, 100'000};
constexpr std::uint32_t kMostDepth = 2'000;
constexpr std::uint32_t kMostHeapKibibytes = 4'096;

// Python's text of names knows neither PCRE's verbs for Unicode nor \C.
constexpr std::uint32_t kOptions = PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string words_of(int error) {
  std::array<unsigned char, 128> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

tl::unexpected<Error> refuse(std::string_view where, std::string_view pattern, std::string_view why) {
  return fail(ErrorCode::invalid_argument, fmt::format("{}: pattern {} {}", where, in_quotes(pattern), why));
}

Status check_length(std::string_view pattern, std::string_view where) {
  if (pattern.size() <= kMostPatternBytes) return {};
  return refuse(where, pattern, fmt::format("is longer than {} bytes, the most that is read", kMostPatternBytes));
}

constexpr std::string_view kTooLong = "takes too long to match";

// One position of a glob: whether the character fits, and where the pattern goes on.
struct Piece {
  bool fits = false;
  std::size_t next = 0;
};

// A set [...] that begins at pattern[at]; without an end it is the character '['.
Piece match_set(std::string_view pattern, std::size_t at, char letter) {
  std::size_t i = at + 1;
  const bool negated = i < pattern.size() && pattern[i] == '!';
  if (negated) ++i;
  const std::size_t first = i;
  const std::size_t end = pattern.find(']', first + 1);
  if (end == std::string_view::npos) return {letter == '[', at + 1};
  bool found = false;
  while (i < end) {
    const bool range = i + 2 < end && pattern[i + 1] == '-';
    found = found || (range ? pattern[i] <= letter && letter <= pattern[i + 2] : pattern[i] == letter);
    i += range ? 3 : 1;
  }
  return {found != negated, end + 1};
}

Piece match_piece(std::string_view pattern, std::size_t at, char letter) {
  if (pattern[at] == '[') return match_set(pattern, at, letter);
  return {pattern[at] == '?' || pattern[at] == letter, at + 1};
}

}  // namespace

std::string in_quotes(std::string_view text, std::size_t most) {
  const nlohmann::json value = std::string(text.substr(0, most + 1));
  const std::string escaped = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  const std::string inner = escaped.substr(1, escaped.size() - 2);
  return inner.size() <= most ? fmt::format("'{}'", inner) : fmt::format("'{}...'", inner.substr(0, most));
}

struct Regex::Compiled {
  Code code;
  Match match;
  MatchLimits limits;
};

Regex::Regex(std::string pattern, std::string where, std::unique_ptr<Compiled> compiled)
    : pattern_(std::move(pattern)), where_(std::move(where)), compiled_(std::move(compiled)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern, std::string where, Anchor anchor) {
  if (auto status = check_length(pattern, where); !status) return fail(status.error());
  int error = 0;
  std::size_t offset = 0;
  auto compiled = std::make_unique<Compiled>();
  const std::uint32_t options = kOptions | (anchor == Anchor::start ? PCRE2_ANCHORED : 0U);
  compiled->code.reset(pcre2_compile(bytes(pattern), pattern.size(), options, &error, &offset, nullptr));
  if (!compiled->code) return refuse(where, pattern, fmt::format("is no regular expression: {}", words_of(error)));
  compiled->match.reset(pcre2_match_data_create(1, nullptr));
  compiled->limits.reset(pcre2_match_context_create(nullptr));
  if (!compiled->match || !compiled->limits) return fail(ErrorCode::internal, "out of memory");
  pcre2_set_depth_limit(compiled->limits.get(), kMostDepth);
  pcre2_set_heap_limit(compiled->limits.get(), kMostHeapKibibytes);
  return Regex(std::string(pattern), std::move(where), std::move(compiled));
}

Result<bool> Regex::matches(std::string_view name, Budget& budget, bool to_boundary) const {
  for (const std::uint32_t limit : kStepLimits) {
    if (!budget.spend(limit)) return refuse(where_, pattern_, kTooLong);
    pcre2_set_match_limit(compiled_->limits.get(), limit);
    const int found = pcre2_match(compiled_->code.get(), bytes(name), name.size(), 0, 0, compiled_->match.get(),
                                  compiled_->limits.get());
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found >= 0) {
      const std::size_t end = pcre2_get_ovector_pointer(compiled_->match.get())[1];
      return !to_boundary || end == name.size() || name[end] == '.' || (end > 0 && name[end - 1] == '.');
    }
    if (found != PCRE2_ERROR_MATCHLIMIT) return refuse(where_, pattern_, "cannot be matched: " + words_of(found));
  }
  return refuse(where_, pattern_, kTooLong);
}

Result<Glob> Glob::compile(std::string_view pattern, std::string where) {
  if (auto status = check_length(pattern, where); !status) return fail(status.error());
  return Glob(std::string(pattern), std::move(where));
}

Result<bool> Glob::matches(std::string_view name, Budget& budget) const {
  constexpr std::size_t kNone = std::string_view::npos;
  std::size_t at = 0;         // in the pattern
  std::size_t letter = 0;     // in the name
  std::size_t after = kNone;  // behind the last *, and the letter up to which that one has taken the name
  std::size_t taken = 0;
  while (letter < name.size()) {
    // A set is read to its end each time.
    if (!budget.spend(at < pattern_.size() && pattern_[at] == '[' ? 50 : 1)) return refuse(where_, pattern_, kTooLong);
    if (at < pattern_.size() && pattern_[at] == '*') {
      after = ++at;
      taken = letter;
      continue;
    }
    const Piece piece = at < pattern_.size() ? match_piece(pattern_, at, name[letter]) : Piece{};
    if (piece.fits) {
      at = piece.next;
      ++letter;
    } else if (after == kNone) {
      return false;
    } else {
      at = after;
      letter = ++taken;
    }
  }
  return pattern_.find_first_not_of('*', at) == std::string::npos;
}

}  // namespace expertile::quantisation

#pragma once
// A list of modules' names and patterns, asked for the experts of one layer. Names are looked up, patterns are tried
// one by one; their number is bounded.

#include <array>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "expertile/error.hpp"
#include "problem/quantisation/module_names.hpp"
#include "problem/quantisation/patterns.hpp"

namespace expertile::quantisation {

inline constexpr std::size_t kMostPatterns = 2000;  // in one list

// What an entry without "re:" may be, besides a name; "re:" begins a regular expression everywhere.
enum class Entries {
  names,    // nothing else (compressed-tensors)
  globs,    // a glob where it has * ? or [ (ModelOpt, Quark)
  regexes,  // a regular expression where it has characters of one, up to the end of a component (fp8)
};

// How a name may stand for a module whose name is longer.
struct NameRules {
  Entries entries = Entries::names;
  bool suffix = false;      // "mlp.experts": the last components are these
  bool components = false;  // "layers.0.mlp": some components that follow each other are these
  bool children = false;    // "...experts.7.up_proj": a name below the module stands for all of it
};

// Which projections of a layer's experts a list names.
struct Coverage {
  std::array<bool, kProjections> projections{};
  [[nodiscard]] bool all() const { return projections[0] && projections[1] && projections[2]; }
  [[nodiscard]] bool any() const { return projections[0] || projections[1] || projections[2]; }
};

class NameList {
 public:
  // where begins every error of the list's patterns.
  [[nodiscard]] static Result<NameList> read(const std::vector<std::string>& entries, NameRules rules,
                                             const std::string& where);

  [[nodiscard]] bool empty() const { return names_.empty() && globs_.empty() && regexes_.empty(); }
  // Naming the experts' module names all its projections. The error is a pattern's.
  [[nodiscard]] Result<Coverage> coverage(const ExpertLayer& layer, Budget& budget) const;
  // Whether the experts' module is named, as a whole or by something below it.
  [[nodiscard]] Result<bool> has_module(const ExpertLayer& layer, Budget& budget) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  explicit NameList(NameRules rules) : rules_(rules) {}
  [[nodiscard]] Status add(const std::string& entry, const std::string& where);
  [[nodiscard]] bool names(std::string_view module) const;
  [[nodiscard]] bool names_child(std::string_view module) const;
  [[nodiscard]] Result<bool> has_any(const std::vector<std::string>& spellings, Budget& budget) const;

  NameRules rules_;
  std::unordered_set<std::string, Hash, std::equal_to<>> names_;
  std::vector<std::string> sorted_;  // the same, for looking below a module; empty without rules_.children
  std::vector<Glob> globs_;
  std::vector<Regex> regexes_;
  std::vector<Regex> bounded_;  // those that end with a component
};

// Whether a sorted range of names has one below the module: "module.".
[[nodiscard]] bool has_below(const std::vector<std::string>& sorted, std::string_view module);

}  // namespace expertile::quantisation

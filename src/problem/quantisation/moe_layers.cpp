#include "problem/quantisation/moe_layers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <string>

#include "files/json_text.hpp"
#include "problem/quantisation/module_names.hpp"
#include "problem/quantisation/section.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;
using Objects = std::vector<const Json*>;

// Without a count: a list that goes layer by layer names the last ones; a few exceptions name the first.
constexpr std::int64_t kAssumedLayers = 32;
constexpr std::int64_t kFewLayers = 8;

const Json* find_innermost(const Objects& objects, const char* key) {
  for (auto object = objects.rbegin(); object != objects.rend(); ++object) {
    if (const Json* value = find_member(**object, key)) return value;
  }
  return nullptr;
}

std::optional<std::int64_t> whole(const Objects& objects, const char* key) {
  const Json* value = find_innermost(objects, key);
  if (value == nullptr || !value->is_number_integer()) return std::nullopt;
  return value->get<std::int64_t>();
}

// The number behind "layers." in a name, if there is one.
std::optional<std::int64_t> layer_in(std::string_view name) {
  constexpr std::string_view kWord = "layers.";
  const std::size_t at = name.find(kWord);
  if (at == std::string_view::npos) return std::nullopt;
  std::int64_t number = 0;
  const char* first = name.data() + at + kWord.size();
  const auto [end, error] = std::from_chars(first, name.data() + name.size(), number);
  if (error != std::errc() || end == first || number < 0 || number >= kMostLayers) return std::nullopt;
  return number;
}

// The highest layer that any name of the section has, or -1. The section's depth is bounded by its reader.
std::int64_t highest_layer(const Json& value) {
  std::int64_t highest = -1;
  if (value.is_string()) return layer_in(value.get_ref<const std::string&>()).value_or(-1);
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) {
      highest = std::max({highest, layer_in(key).value_or(-1), highest_layer(inner)});
    }
  } else if (value.is_array()) {
    for (const Json& inner : value) highest = std::max(highest, highest_layer(inner));
  }
  return highest;
}

// A list of one entry a layer that says which have experts; entries of other kinds say nothing.
bool says_dense(const Json& list, std::size_t layer) {
  if (layer >= list.size()) return false;
  const Json& entry = list[layer];
  if (entry.is_number_integer()) return entry == 0;
  return entry.is_string() && (entry == "dense" || entry == "mlp" || entry == "mamba" || entry == "attention");
}

// A list of layers' numbers; "3,4,5" is one too.
std::optional<std::vector<std::int64_t>> numbers_of(const Json* value) {
  std::vector<std::int64_t> numbers;
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    const std::string& text = value->get_ref<const std::string&>();
    for (const char *at = text.data(), *end = at + text.size(); at < end; ++at) {
      std::int64_t number = 0;
      const auto [next, error] = std::from_chars(at, end, number);
      if (error != std::errc()) continue;
      numbers.push_back(number);
      at = next;
      if (at == end) break;
    }
  } else if (value->is_array()) {
    for (const Json& entry : *value) {
      if (entry.is_number_integer()) numbers.push_back(entry.get<std::int64_t>());
    }
  }
  std::ranges::sort(numbers);
  return numbers;
}

// Which layers have experts, by whatever of the known fields is there: each may only take layers away.
class Selection {
 public:
  explicit Selection(const Objects& objects) : objects_(objects) {}

  // layers: ascending; those without experts are removed.
  void apply(std::vector<std::int64_t>& layers) const {
    first_layers(layers);
    steps(layers);
    lists(layers);
    one_entry_a_layer(layers);
  }

 private:
  template <class Keep>
  static void keep(std::vector<std::int64_t>& layers, Keep keeps) {
    std::erase_if(layers, [&](std::int64_t layer) { return !keeps(layer); });
  }

  void first_layers(std::vector<std::int64_t>& layers) const {
    for (const char* key : {"first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"}) {
      if (const auto first = whole(objects_, key)) keep(layers, [&](std::int64_t layer) { return layer >= *first; });
    }
    if (const auto last = whole(objects_, "moe_layer_end_index"); last && *last >= 0) {
      keep(layers, [&](std::int64_t layer) { return layer <= *last; });
    }
  }

  // Every so many layers one has experts: the last of each group, or that at an offset.
  void steps(std::vector<std::int64_t>& layers) const {
    for (const char* key : {"decoder_sparse_step", "interleave_moe_layer_step"}) {
      const auto step = whole(objects_, key);
      if (step && *step > 1) keep(layers, [&](std::int64_t layer) { return (layer + 1) % *step == 0; });
    }
    const auto period = whole(objects_, "expert_layer_period");
    const auto offset = whole(objects_, "expert_layer_offset").value_or(0);
    if (period && *period > 1) keep(layers, [&](std::int64_t layer) { return layer % *period == offset; });
    const auto every = whole(objects_, "moe_layer_freq");
    if (every && *every > 1) keep(layers, [&](std::int64_t layer) { return layer % *every == 0; });
  }

  void lists(std::vector<std::int64_t>& layers) const {
    const auto has = [](const std::vector<std::int64_t>& numbers, std::int64_t layer) {
      return std::ranges::binary_search(numbers, layer);
    };
    if (const auto dense = numbers_of(find_innermost(objects_, "mlp_only_layers"))) {
      keep(layers, [&](std::int64_t layer) { return !has(*dense, layer); });
    }
    for (const char* key : {"moe_layers", "moe_layers_enum"}) {
      const auto sparse = numbers_of(find_innermost(objects_, key));
      if (sparse && !sparse->empty()) keep(layers, [&](std::int64_t layer) { return has(*sparse, layer); });
    }
  }

  void one_entry_a_layer(std::vector<std::int64_t>& layers) const {
    for (const char* key : {"moe_layer_freq", "mlp_layer_types", "layers_block_type"}) {
      const Json* list = find_innermost(objects_, key);
      if (list == nullptr || !list->is_array()) continue;
      keep(layers, [&](std::int64_t layer) { return !says_dense(*list, static_cast<std::size_t>(layer)); });
    }
    // Nemotron-H: a letter a layer, E for experts.
    const Json* pattern = find_innermost(objects_, "hybrid_override_pattern");
    if (pattern == nullptr || !pattern->is_string()) return;
    const std::string& letters = pattern->get_ref<const std::string&>();
    keep(layers, [&](std::int64_t layer) {
      return static_cast<std::size_t>(layer) >= letters.size() || letters[static_cast<std::size_t>(layer)] == 'E';
    });
  }

  const Objects& objects_;
};

}  // namespace

Result<MoeLayers> moe_layers(const Objects& objects, const Json& section, std::string_view origin) {
  MoeLayers found;
  std::int64_t count = 0;
  for (const char* key : {"num_hidden_layers", "num_layers", "n_layers"}) {
    const Json* value = find_innermost(objects, key);
    if (value == nullptr) continue;
    if (!value->is_number_integer() || *value < 1 || *value > kMostLayers) {
      return fail(ErrorCode::invalid_argument, fmt::format("{}: {} is {}, it must be a whole number from 1 to {}",
                                                           origin, key, shown(*value), kMostLayers));
    }
    count = value->get<std::int64_t>();
    found.counted = true;
    break;
  }
  if (!found.counted) {
    const std::int64_t named = highest_layer(section) + 1;
    count = named >= kFewLayers ? named : kAssumedLayers;
  }
  found.numbers.resize(static_cast<std::size_t>(count));
  std::iota(found.numbers.begin(), found.numbers.end(), 0);
  const std::vector<std::int64_t> all = found.numbers;
  Selection(objects).apply(found.numbers);
  if (found.numbers.empty()) found.numbers = all;  // the fields contradict each other: every layer is asked for
  return found;
}

}  // namespace expertile::quantisation

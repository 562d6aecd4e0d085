// Published configurations with fields changed, moved, renamed and lost: what is read of them is what a small reader of
// this test reads, or it is refused with a line that names a field or an option.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "files/files.hpp"
#include "problem/model.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;
using Names = std::vector<std::string>;

// The names again, written down by hand: a table of the reader's own would agree with its own mistakes.
const Names kExperts = {"n_routed_experts", "moe_num_experts", "num_local_experts", "num_experts",
                        "moe_num_primary_experts"};
const Names kTopK = {"num_experts_per_tok",
                     "num_experts_per_token",
                     "experts_per_token",
                     "top_k_experts",
                     "moe_topk",
                     "moe_top_k",
                     "moe_k",
                     "moe_router_topk",
                     "moe_num_active_primary_experts"};
const Names kWidth = {"moe_intermediate_size", "expert_ffn_hidden_size", "expert_hidden_dim", "moe_ffn_hidden_size"};
const Names kLatent = {"moe_latent_size", "moe_hidden_size", "routed_expert_hidden_size"};

// Every value that a section gives under one of these names.
std::set<std::int64_t> values_of(const Json& section, const Names& names) {
  std::set<std::int64_t> values;
  std::vector<const Json*> places{&section};
  if (section.contains("ffn_config") && section["ffn_config"].is_object()) places.push_back(&section["ffn_config"]);
  for (const Json* place : places) {
    for (const std::string& name : names) {
      if (!place->contains(name)) continue;
      const Json& value = (*place)[name];
      if (value.is_number_integer()) values.insert(value.get<std::int64_t>());
      if (!value.is_array()) continue;
      for (const Json& entry : value) {
        if (entry.is_number_integer() && entry != 0) values.insert(entry.get<std::int64_t>());
      }
    }
  }
  return values;
}

// The first of the known places that says how many experts there are, else the first with a hidden size.
const Json& section_with_experts(const Json& root) {
  std::vector<const Json*> places;
  for (const char* path : {"/thinker_config/text_config", "/text_config", "/language_config", "/llm_config", ""}) {
    const Json::json_pointer at(path);
    if (root.contains(at) && root[at].is_object()) places.push_back(&root[at]);
  }
  const auto says = [](const Json& object, const Names& names) {
    return object.is_object() && std::ranges::any_of(names, [&](const std::string& name) {
             return object.contains(name) && !object[name].is_null();
           });
  };
  for (const Names& names : {kExperts, Names{"hidden_size", "d_model", "n_embd"}}) {
    for (const Json* place : places) {
      if (says(*place, names) || (place->contains("ffn_config") && says((*place)["ffn_config"], names))) return *place;
    }
  }
  return root;
}

void expect_read_or_refused(const Result<std::int64_t>& read, const std::set<std::int64_t>& said, const Json& root) {
  if (read) {
    EXPECT_TRUE(said.contains(*read)) << *read << " is nowhere in\n" << root.dump(1);
    EXPECT_GE(*read, 1);
    return;
  }
  const std::string& line = read.error().message;
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_NE(line.find("mutated: "), std::string::npos) << line;
  const bool names_something = line.find('_') != std::string::npos || line.find("--") != std::string::npos;
  EXPECT_TRUE(names_something) << line;
}

void check(const Json& root) {
  const auto spec = parse_model_config(root.dump(), "mutated");
  ASSERT_TRUE(spec) << spec.error().message;
  const Json& section = section_with_experts(root);
  if (spec->experts && !*spec->experts) {
    // Dense: nothing that is known says of more than one expert, or a switch is off.
    const std::set<std::int64_t> said = values_of(section, kExperts);
    const bool is_off = section.value("enable_moe_block", Json()) == false || section.value("is_moe", Json()) == false;
    EXPECT_TRUE(is_off || said.empty() || *said.begin() <= 1) << root.dump(1);
    return;
  }
  if (spec->experts) {
    expect_read_or_refused(**spec->experts, values_of(section, kExperts), root);
  } else {
    expect_read_or_refused(tl::unexpected(spec->experts.error()), {}, root);
  }
  expect_read_or_refused(spec->top_k, values_of(section, kTopK), root);
  std::set<std::int64_t> widths = values_of(section, kWidth);
  if (widths.empty()) {
    widths = values_of(section, {"intermediate_size", "n_inner", "d_ff", "encoder_ffn_dim", "ffn_hidden_size"});
  }
  expect_read_or_refused(spec->intermediate, widths, root);
  if (spec->expert_hidden_size && *spec->expert_hidden_size) {
    expect_read_or_refused(**spec->expert_hidden_size, values_of(section, kLatent), root);
  }
  // A width that may be the dense layers' is not taken for the experts'.
  const bool is_shared = spec->intermediate && values_of(section, kWidth).empty() &&
                         section.value("intermediate_size", Json()) == *spec->intermediate;
  if (!is_shared || section.contains("ffn_config")) return;
  const auto has = [&](const char* name) { return section.contains(name) && !section[name].is_null(); };
  if (has("dense_intermediate_size") || has("intermediate_size_mlp") || has("prefix_dense_intermediate_size")) return;
  for (const char* dense : {"first_k_dense_replace", "decoder_sparse_step", "num_dense_layers"}) {
    EXPECT_FALSE(has(dense) && section[dense].is_number() && section[dense] > 0) << root.dump(1);
  }
}

class Mutation {
 public:
  explicit Mutation(std::uint64_t seed) : random_(seed) {}

  void apply(Json& root) {
    Json& section = const_cast<Json&>(section_with_experts(root));
    const Names names = any(std::vector<Names>{kExperts, kTopK, kWidth, kLatent, {"intermediate_size"}});
    const auto present = std::ranges::find_if(names, [&](const std::string& name) { return section.contains(name); });
    const std::string field = present == names.end() ? any(names) : *present;
    switch (random_() % 8) {
      case 0:
        section.erase(field);
        break;
      case 1:
        section[field] = static_cast<std::int64_t>(random_() % 500);
        break;
      case 2:
        section[field] = any(std::vector<Json>{nullptr, "64", -3, 2.5, true, Json::object(), Json::array({8, 9})});
        break;
      case 3:  // another known name
        if (const Json value = section.value(field, Json(7)); true) {
          section.erase(field);
          section[any(names)] = value;
        }
        break;
      case 4:  // a name that nobody knows
        if (const Json value = section.value(field, Json(7)); true) {
          section.erase(field);
          section["moe_unheard_of"] = value;
        }
        break;
      case 5:  // twice, with another value or the same
        section[any(names)] = section.value(field, Json(random_() % 2 + 7));
        break;
      case 6:
        root = Json{{any(Names{"text_config", "llm_config", "language_config", "vision_config"}), root},
                    {"hidden_size", 77}};
        break;
      default:
        section[any(Names{"first_k_dense_replace", "decoder_sparse_step", "num_dense_layers", "dense_intermediate_size",
                          "enable_moe_block"})] = any(std::vector<Json>{0, 1, false});
    }
  }

 private:
  template <class T>
  T any(const std::vector<T>& of) {
    return of[random_() % of.size()];
  }

  std::mt19937_64 random_;
};

TEST(MutatedModels, AreReadRightOrRefusedByTheNameOfAField) {
  std::vector<Json> seeds;
  for (const char* collection : {"models", "published_models"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(EXPERTILE_SOURCE_DIR) + "/tests/data/" + collection)) {
      const auto text = read_text(entry.path() / "config.json", 1 << 20);
      if (text && text->size() < (8 << 10)) seeds.push_back(Json::parse(*text, nullptr, false));
    }
  }
  std::erase_if(seeds, [](const Json& seed) { return seed.is_discarded(); });
  ASSERT_GE(seeds.size(), 60U);
  std::sort(seeds.begin(), seeds.end());
  for (std::uint64_t i = 0; i < 20000 && !::testing::Test::HasFailure(); ++i) {
    Mutation mutation(i);
    Json root = seeds[i % seeds.size()];
    for (std::uint64_t changes = 1 + i % 3; changes > 0; --changes) mutation.apply(root);
    check(root);
  }
}

}  // namespace
}  // namespace expertile

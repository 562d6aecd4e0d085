// The configuration file's JSON. Its text is hostile: it is screened for size, depth and repeated keys before a
// document is built, and every number is checked before it becomes a tile.

#include "store/config_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "files/files.hpp"
#include "files/json_text.hpp"
#include "plan/tile_schema.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kMaxFileBytes = 4 << 20;
constexpr std::size_t kMaxDepth = 16;
constexpr std::int64_t kMaxTileNumber = 65536;
constexpr std::int64_t kMaxBatch = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxNamedKeys = 16;  // warnings a file may cause by unknown keys
constexpr std::string_view kMetadata = "metadata";
constexpr std::string_view kSchema = "schema";
constexpr std::string_view kBatches = "batches";  // in the metadata
constexpr std::string_view kKernel = "kernel";

std::string dump(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Without leading zeros, from 1 to kMaxBatch.
std::optional<std::int64_t> parse_batch(std::string_view key) {
  std::int64_t batch = 0;
  const char* end = key.data() + key.size();
  const auto parsed = std::from_chars(key.data(), end, batch);
  if (parsed.ec != std::errc() || parsed.ptr != end || key.front() == '0' || batch < 1 || batch > kMaxBatch) return {};
  return batch;
}

// One document into a ConfigFile.
class Reader {
 public:
  explicit Reader(std::string_view origin) : origin_(origin) {}

  Result<ReadConfig> read(const Json& document) {
    if (!document.is_object()) return refuse(fmt::format("must hold one JSON object, not {}", shown(document)));
    // The schema comes first: a newer file's tiles may look wrong to this version.
    if (const auto found = document.find(kMetadata); found != document.end()) {
      if (auto status = read_metadata(*found); !status) return fail(status.error());
    }
    for (const auto& [key, value] : document.items()) {
      if (key == kMetadata) continue;
      if (auto status = read_entry(key, value); !status) return fail(status.error());
    }
    read_batches(document);  // when it is known which batch sizes there are
    if (unknown_count_ > kMaxNamedKeys) {
      result_.warnings.push_back(
          fmt::format("{}: {} more unknown keys are kept", origin_, unknown_count_ - kMaxNamedKeys));
    }
    if (!unknown_.empty()) result_.file.unknown = dump(unknown_);
    return std::move(result_);
  }

 private:
  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& reason,
                                             ErrorCode code = ErrorCode::invalid_argument) const {
    return fail(code, fmt::format("{}: {}", origin_, reason));
  }

  void note_unknown(const std::string& path) {
    if (++unknown_count_ > kMaxNamedKeys) return;
    result_.warnings.push_back(fmt::format("{}: unknown key {} is kept", origin_, path));
  }

  Status read_metadata(const Json& metadata) {
    if (!metadata.is_object()) return refuse(fmt::format("\"metadata\" must be an object, not {}", shown(metadata)));
    for (const auto& [key, value] : metadata.items()) {
      if (key == kSchema) {
        if (auto status = check_schema(value); !status) return status;
      } else if (key == kBatches) {
        continue;
      } else if (value.is_string()) {
        result_.file.metadata[key] = value.get<std::string>();
      } else {
        unknown_[std::string(kMetadata)][key] = value;
        note_unknown(fmt::format("\"metadata\".{}", shown(key)));
      }
    }
    return {};
  }

  // Entries of batch sizes that have a tile, so never more than tiles.
  void read_batches(const Json& document) {
    const Json batches = document.value(kMetadata, Json::object()).value(kBatches, Json::object());
    if (!batches.is_object()) {
      unknown_[std::string(kMetadata)][std::string(kBatches)] = batches;
      return note_unknown(fmt::format("\"metadata\".\"{}\"", kBatches));
    }
    for (const auto& [key, entry] : batches.items()) {
      const auto batch = parse_batch(key);
      if (batch && entry.is_object() && result_.file.tiles.contains(*batch)) {
        read_batch(key, entry, *batch);
      } else {
        unknown_[std::string(kMetadata)][std::string(kBatches)][key] = entry;
        note_unknown(fmt::format("\"metadata\".\"{}\".{}", kBatches, shown(key)));
      }
    }
  }

  void read_batch(const std::string& key, const Json& entry, std::int64_t batch) {
    for (const auto& [name, value] : entry.items()) {
      if (value.is_string()) {
        result_.file.batches[batch][name] = value.get<std::string>();
      } else {
        unknown_[std::string(kMetadata)][std::string(kBatches)][key][name] = value;
        note_unknown(fmt::format("\"metadata\".\"{}\".\"{}\".{}", kBatches, key, shown(name)));
      }
    }
  }

  [[nodiscard]] Status check_schema(const Json& value) const {
    if (!value.is_number_integer() || value < 1) {
      return refuse(fmt::format("\"metadata\".schema is {}, must be a whole number from 1", shown(value)));
    }
    if (value > kConfigSchema) {
      return refuse(fmt::format("schema {} is newer than schema {}, the newest that this version reads", dump(value),
                                kConfigSchema),
                    ErrorCode::unsupported);
    }
    return {};
  }

  Status read_entry(const std::string& key, const Json& value) {
    if (!is_meant_as_batch(key, value)) {
      unknown_[key] = value;
      note_unknown(shown(key));
      return {};
    }
    const auto batch = parse_batch(key);
    if (!batch) {
      return refuse(fmt::format("batch size {} must be a whole number from 1 to {} without leading zeros", shown(key),
                                kMaxBatch));
    }
    return read_tile(key, value, result_.file.tiles[*batch]);
  }

  // Other tools put keys such as "triton_version" here, which are no mistake. What begins like a number, or holds a
  // tile, was meant as a batch size.
  static bool is_meant_as_batch(std::string_view key, const Json& value) {
    constexpr std::string_view kNumberStarts = "0123456789+-. ";
    const bool like_number = !key.empty() && kNumberStarts.find(key.front()) != std::string_view::npos;
    return like_number || (value.is_object() && value.contains(kTileFields.front().key));
  }

  Status read_tile(const std::string& batch, const Json& value, TileConfig& tile) {
    if (!value.is_object()) {
      return refuse(fmt::format("\"{}\" must be an object of tile fields, not {}", batch, shown(value)));
    }
    for (const TileField& field : kTileFields) {
      const auto found = value.find(field.key);
      if (found == value.end() && !field.is(kRequired)) continue;
      const int least = std::min(1, field.neutral());
      if (found == value.end() || !found->is_number_integer() || *found < least || *found > kMaxTileNumber) {
        const std::string state = found == value.end() ? "missing" : shown(*found);
        return refuse(fmt::format("\"{}\".{} is {}, must be a whole number from {} to {}", batch, field.key, state,
                                  least, kMaxTileNumber));
      }
      tile.*field.member = found->get<int>();
    }
    for (const auto& [key, member] : value.items()) {
      if (key == kKernel) {
        const auto family = member.is_string() ? family_named(member.get<std::string>()) : std::nullopt;
        if (!family) {
          return refuse(fmt::format("\"{}\".kernel is {}, this version knows \"cpu\", \"sm80\" and \"sm90\"", batch,
                                    shown(member)),
                        member.is_string() ? ErrorCode::unsupported : ErrorCode::invalid_argument);
        }
        tile.kernel = *family;
        continue;
      }
      if (find_field(key) != nullptr) continue;
      unknown_[batch][key] = member;
      note_unknown(fmt::format("\"{}\".{}", batch, shown(key)));
    }
    return {};
  }

  std::string origin_;
  ReadConfig result_;
  Json unknown_ = Json::object();  // laid out as the file is
  std::size_t unknown_count_ = 0;
};

// Members in the order given; a Json object would sort "16" before "2".
using Members = std::vector<std::pair<std::string, std::string>>;  // key, JSON text

std::string object_text(const Members& members, int depth) {
  if (members.empty()) return "{}";
  const std::string indent(static_cast<std::size_t>(4 * depth), ' ');
  std::string text = "{";
  for (const auto& [key, value] : members) {
    text += fmt::format("{}\n{}    {}: {}", text.size() == 1 ? "" : ",", indent, dump(key), value);
  }
  return text + "\n" + indent + "}";
}

// Pretty text of any value at a depth. Line ends inside strings are escaped, so each one here is layout.
std::string value_text(const Json& value, int depth) {
  std::string text;
  for (const char character : dump(value, 4)) {
    text += character;
    if (character == '\n') text.append(4 * static_cast<std::size_t>(depth), ' ');
  }
  return text;
}

Json parse_unknown(const std::string& text) {
  Json unknown = Json::parse(text, nullptr, false);
  return unknown.is_object() ? unknown : Json::object();
}

// The object below that key; an empty one where there is none.
Json object_at(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : Json::object();
}

// What is known of batch sizes, in their order and with what is unknown of each, then what is unknown altogether.
std::string batches_text(const ConfigFile& file, Json unknown) {
  Members members;
  for (const auto& [batch, said] : file.batches) {
    const std::string key = std::to_string(batch);
    Json entry = object_at(unknown, key);
    for (const auto& [name, value] : said) entry[name] = value;
    unknown.erase(key);
    members.emplace_back(key, value_text(entry, 3));
  }
  for (const auto& [key, value] : unknown.items()) members.emplace_back(key, value_text(value, 3));
  return object_text(members, 2);
}

// A tuned tile replaces the old one whole: keys that described the old tile would be wrong beside the new numbers.
void drop_replaced(Json& unknown, const std::map<std::int64_t, TileConfig>& tiles, const Metadata& metadata) {
  for (const auto& entry : tiles) unknown.erase(std::to_string(entry.first));
  const auto found = unknown.find(kMetadata);
  if (found == unknown.end() || !found->is_object()) return;
  for (const auto& entry : metadata) found->erase(entry.first);
  const auto batches = found->find(kBatches);
  if (batches == found->end() || !batches->is_object()) return;
  for (const auto& entry : tiles) batches->erase(std::to_string(entry.first));
}

std::string text_at(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

// What differs of `before` where `now` will stand for the whole file.
Metadata kept_of(const Metadata& before, const Metadata& now) {
  Metadata kept;
  for (const Metadata* one : {&before, &now}) {
    for (const auto& entry : *one) {
      const std::string said = text_at(before, entry.first);
      if (said != text_at(now, entry.first)) kept[entry.first] = said;
    }
  }
  return kept;
}

// The metadata becomes that of a run which tunes `tiles`; all other batch sizes keep what they say of themselves.
void replace_metadata(ConfigFile& file, const std::map<std::int64_t, TileConfig>& tiles, const Metadata& metadata) {
  Metadata now = file.metadata;
  for (const auto& [key, value] : metadata) now[key] = value;
  std::map<std::int64_t, Metadata> batches;
  for (const auto& entry : file.tiles) {
    if (tiles.contains(entry.first)) continue;
    if (Metadata kept = kept_of(said_of(file, entry.first), now); !kept.empty()) batches[entry.first] = std::move(kept);
  }
  file.batches = std::move(batches);
  file.metadata = std::move(now);
}

}  // namespace

Metadata said_of(const ConfigFile& file, std::int64_t batch) {
  Metadata said = file.metadata;
  if (const auto own = file.batches.find(batch); own != file.batches.end()) {
    for (const auto& [key, value] : own->second) said[key] = value;
  }
  std::erase_if(said, [](const auto& entry) { return entry.second.empty(); });
  return said;
}

Result<ReadConfig> parse_config(std::string_view text, std::string_view origin) {
  const auto document = parse_json(text, origin, {.bytes = kMaxFileBytes, .depth = kMaxDepth});
  if (!document) return fail(document.error());
  return Reader(origin).read(*document);
}

Result<ReadConfig> read_config(const fs::path& path) {
  const auto text = read_text(path, kMaxFileBytes);
  if (!text) return fail(text.error());
  return parse_config(*text, path.string());
}

std::string to_text(const ConfigFile& file) {
  const Json unknown = parse_unknown(file.unknown);
  Members top;
  for (const auto& [batch, tile] : file.tiles) {  // a std::map: in numeric order
    Members members;
    for (const auto& [key, number] : tile_numbers(tile)) members.emplace_back(key, std::to_string(number));
    members.emplace_back(kKernel, dump(name(tile.kernel)));
    const Json more = object_at(unknown, std::to_string(batch));
    for (const auto& [key, value] : more.items()) {
      members.emplace_back(key, value_text(value, 2));
    }
    top.emplace_back(std::to_string(batch), object_text(members, 1));
  }

  Members metadata = {{std::string(kSchema), std::to_string(kConfigSchema)}};
  for (const auto& [key, value] : file.metadata) {
    if (key != kSchema && key != kBatches) metadata.emplace_back(key, dump(value));
  }
  Json more = object_at(unknown, kMetadata);
  if (!file.batches.empty() || object_at(more, kBatches).size() > 0) {
    metadata.emplace_back(kBatches, batches_text(file, object_at(more, kBatches)));
    more.erase(std::string(kBatches));
  }
  for (const auto& [key, value] : more.items()) metadata.emplace_back(key, value_text(value, 2));
  top.emplace_back(kMetadata, object_text(metadata, 1));

  for (const auto& [key, value] : unknown.items()) {
    const bool part_of_another = key == kMetadata || (!key.empty() && key.front() >= '0' && key.front() <= '9');
    if (!part_of_another) top.emplace_back(key, value_text(value, 1));
  }
  return object_text(top, 0) + "\n";
}

Status merge_into(const fs::path& path, const std::map<std::int64_t, TileConfig>& tiles, const Metadata& metadata) {
  if (path.has_parent_path()) {
    if (auto status = make_directories(path.parent_path()); !status) return status;
  }
  LockFile lock;
  if (auto status = lock.acquire(path.string() + ".lock"); !status) return status;

  ConfigFile merged;
  if (auto existing = read_config(path)) {
    merged = std::move(existing->file);
  } else if (existing.error().code != ErrorCode::not_found) {
    return fail(existing.error().code, existing.error().message + "; the file was left as it is");
  }
  Json unknown = parse_unknown(merged.unknown);
  drop_replaced(unknown, tiles, metadata);
  merged.unknown = unknown.empty() ? std::string() : dump(unknown);
  replace_metadata(merged, tiles, metadata);
  for (const auto& [batch, tile] : tiles) merged.tiles[batch] = tile;

  const std::string text = to_text(merged);
  // Never leaves a file that the next reader would refuse.
  if (const auto check = parse_config(text, path.string()); !check) return fail(check.error());
  return write_atomically(path, text);
}

}  // namespace expertile

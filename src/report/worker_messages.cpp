#include "report/worker_messages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "files/json_text.hpp"
#include "plan/tile_schema.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;

constexpr int kMessageFormat = 1;
constexpr std::size_t kMaxDepth = 8;
constexpr std::int64_t kMaxBytes = std::int64_t{64} << 20;

constexpr const char* kKernel = "kernel";

Json tile_json(const TileConfig& tile) {
  Json json = {{kKernel, name(tile.kernel)}};
  for (const TileField& field : kTileFields) json[std::string(field.key)] = tile.*field.member;
  return json;
}

// The readers below throw on anything unexpected, as nlohmann's do; parsed() turns these into an error.
TileConfig tile_of(const Json& json) {
  TileConfig tile;
  const std::string family = json.at(kKernel).get<std::string>();
  const auto known = family_named(family);
  if (!known) throw std::invalid_argument(fmt::format("kernel={} is no family", family));
  tile.kernel = *known;
  for (const TileField& field : kTileFields) tile.*field.member = json.at(std::string(field.key)).get<int>();
  return tile;
}

Json ceiling_json(const Ceiling& ceiling) {
  return {{"bytes_per_s", ceiling.bytes_per_s}, {"flops_per_s", ceiling.flops_per_s}};
}
Ceiling ceiling_of(const Json& json) {
  return {json.at("bytes_per_s").get<double>(), json.at("flops_per_s").get<double>()};
}

Json evidence_json(const CandidateEvidence& one) {
  return {{"tile", tile_json(one.tile)},
          {"is_default", one.is_default},
          {"times_us", one.times_us},
          {"median_us", one.median_us},
          {"error_over_bound", one.error_over_bound},
          {"skewed_us", one.skewed_us},
          {"refused", one.refused}};
}
CandidateEvidence evidence_of(const Json& json) {
  CandidateEvidence one;
  one.tile = tile_of(json.at("tile"));
  json.at("is_default").get_to(one.is_default);
  json.at("times_us").get_to(one.times_us);
  json.at("median_us").get_to(one.median_us);
  json.at("error_over_bound").get_to(one.error_over_bound);
  json.at("skewed_us").get_to(one.skewed_us);
  json.at("refused").get_to(one.refused);
  return one;
}

Json sample_json(const RoutingSample& sample) {
  return {{"seg_indptr", sample.seg_indptr}, {"weight_indices", sample.weight_indices}};
}
RoutingSample sample_of(const Json& json) {
  return {json.at("seg_indptr").get<std::vector<std::int64_t>>(),
          json.at("weight_indices").get<std::vector<std::int64_t>>()};
}

template <class T, class ToJson>
Json list_json(const std::vector<T>& values, const ToJson& to_json) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(to_json(value));
  return list;
}

// A result's numbers by their names, for both ways.
using Number = double BatchResult::*;
constexpr std::pair<const char*, Number> kNumbers[] = {
    {"rows", &BatchResult::rows},         {"default_us", &BatchResult::default_us},
    {"tuned_us", &BatchResult::tuned_us}, {"ratio", &BatchResult::ratio},
    {"noise", &BatchResult::noise},       {"spread", &BatchResult::spread},
    {"waited", &BatchResult::waited},     {"flops", &BatchResult::flops},
    {"bytes", &BatchResult::bytes},       {"ceiling_us", &BatchResult::ceiling_us}};

Json result_json(const BatchResult& result) {
  Json json = {{"batch", result.batch},
               {"tile", tile_json(result.tile)},
               {"duel", {{"default_us", result.duel.default_us}, {"challenger_us", result.duel.challenger_us}}},
               {"evidence", list_json(result.evidence, evidence_json)},
               {"refusals", result.refusals},
               {"samples", list_json(result.samples, sample_json)}};
  for (const auto& [name, number] : kNumbers) json[name] = result.*number;
  return json;
}

BatchResult result_of(const Json& json) {
  BatchResult result;
  json.at("batch").get_to(result.batch);
  result.tile = tile_of(json.at("tile"));
  json.at("duel").at("default_us").get_to(result.duel.default_us);
  json.at("duel").at("challenger_us").get_to(result.duel.challenger_us);
  for (const Json& one : json.at("evidence")) result.evidence.push_back(evidence_of(one));
  json.at("refusals").get_to(result.refusals);
  for (const Json& one : json.at("samples")) result.samples.push_back(sample_of(one));
  for (const auto& [name, number] : kNumbers) json.at(name).get_to(result.*number);
  return result;
}

const std::map<WorkerMessage::Kind, std::string>& kind_names() {
  using Kind = WorkerMessage::Kind;
  static const std::map<Kind, std::string> names = {{Kind::trying, "trying"},
                                                    {Kind::timed, "timed"},
                                                    {Kind::ceiling, "ceiling"},
                                                    {Kind::decided, "decided"},
                                                    {Kind::failed, "failed"}};
  return names;
}

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

template <class T, class Read>
Result<T> parsed(std::string_view text, const char* what, const Read& read) {
  const auto document = parse_json(text, what, {.bytes = kMaxBytes, .depth = kMaxDepth});
  if (!document) return fail(document.error());
  try {
    return read(*document);
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal, fmt::format("{} is not as expected: {}", what, error.what()));
  }
}

}  // namespace

std::string to_text(const WorkerJob& job) {
  const auto refused_json = [](const RefusedTile& one) {
    return Json{{"tile", tile_json(one.tile)}, {"reason", one.reason}};
  };
  Json json = {{"format", kMessageFormat},
               {"problem", job.problem},
               {"batches", job.batches},
               {"refused", list_json(job.refused, refused_json)}};
  if (job.ceiling) json["ceiling"] = ceiling_json(*job.ceiling);
  return line_of(json);
}

Result<WorkerJob> parse_worker_job(std::string_view text) {
  return parsed<WorkerJob>(text, "--worker", [](const Json& json) -> Result<WorkerJob> {
    if (const int format = json.at("format").get<int>(); format != kMessageFormat) {
      return fail(ErrorCode::internal,
                  fmt::format("--worker has format {}, this program reads {}", format, kMessageFormat));
    }
    WorkerJob job;
    json.at("problem").get_to(job.problem);
    json.at("batches").get_to(job.batches);
    if (json.contains("ceiling")) job.ceiling = ceiling_of(json.at("ceiling"));
    for (const Json& one : json.at("refused")) {
      job.refused.push_back({tile_of(one.at("tile")), one.at("reason").get<std::string>()});
    }
    return job;
  });
}

std::string to_text(const WorkerMessage& message) {
  using Kind = WorkerMessage::Kind;
  Json json = {{"says", kind_names().at(message.kind)}};
  switch (message.kind) {
    case Kind::timed:
      json["best_us"] = message.best_us;
      [[fallthrough]];
    case Kind::trying:
      json["batch"] = message.batch;
      json["tile"] = tile_json(message.tile);
      break;
    case Kind::ceiling:
      json["ceiling"] = ceiling_json(message.ceiling);
      break;
    case Kind::decided:
      json["result"] = result_json(message.result);
      break;
    case Kind::failed:
      json["code"] = static_cast<int>(message.error.code);
      json["message"] = message.error.message;
      break;
  }
  return line_of(json);
}

Result<WorkerMessage> parse_worker_message(std::string_view line) {
  return parsed<WorkerMessage>(line, "a measuring process's line", [](const Json& json) -> Result<WorkerMessage> {
    using Kind = WorkerMessage::Kind;
    const auto says = json.at("says").get<std::string>();
    const auto known = std::ranges::find(kind_names(), says, &std::pair<const Kind, std::string>::second);
    if (known == kind_names().end()) {
      return fail(ErrorCode::internal, fmt::format("a measuring process's line says '{}', which is not known", says));
    }
    WorkerMessage message;
    message.kind = known->first;
    switch (message.kind) {
      case Kind::timed:
        json.at("best_us").get_to(message.best_us);
        [[fallthrough]];
      case Kind::trying:
        json.at("batch").get_to(message.batch);
        message.tile = tile_of(json.at("tile"));
        break;
      case Kind::ceiling:
        message.ceiling = ceiling_of(json.at("ceiling"));
        break;
      case Kind::decided:
        message.result = result_of(json.at("result"));
        break;
      case Kind::failed: {
        const int code = json.at("code").get<int>();
        const bool is_code = code >= 0 && code <= static_cast<int>(ErrorCode::internal);
        message.error = {is_code ? static_cast<ErrorCode>(code) : ErrorCode::internal,
                         json.at("message").get<std::string>()};
        break;
      }
    }
    return message;
  });
}

}  // namespace expertile

#include "report/worker_messages.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "files/json_text.hpp"
#include "plan/tile_schema.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;

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

Json ceiling_json(const Ceiling& ceiling) { return {ceiling.bytes_per_s, ceiling.flops_per_s}; }
Ceiling ceiling_of(const Json& json) { return {json.at(0).get<double>(), json.at(1).get<double>()}; }

Json result_json(const BatchResult& result) {
  Json evidence = Json::array();
  for (const CandidateEvidence& one : result.evidence) {
    evidence.push_back({tile_json(one.tile), one.is_default, one.times_us, one.median_us, one.error_over_bound,
                        one.skewed_us, one.refused});
  }
  Json samples = Json::array();
  for (const RoutingSample& sample : result.samples) samples.push_back({sample.seg_indptr, sample.weight_indices});
  return {{"batch", result.batch},
          {"rows", result.rows},
          {"default_us", result.default_us},
          {"tuned_us", result.tuned_us},
          {"flops", result.flops},
          {"bytes", result.bytes},
          {"ceiling_us", result.ceiling_us},
          {"tile", tile_json(result.tile)},
          {"evidence", evidence},
          {"refusals", result.refusals},
          {"samples", samples}};
}

BatchResult result_of(const Json& json) {
  BatchResult result;
  result.batch = json.at("batch").get<std::int64_t>();
  result.rows = json.at("rows").get<double>();
  result.default_us = json.at("default_us").get<double>();
  result.tuned_us = json.at("tuned_us").get<double>();
  result.flops = json.at("flops").get<double>();
  result.bytes = json.at("bytes").get<double>();
  result.ceiling_us = json.at("ceiling_us").get<double>();
  result.tile = tile_of(json.at("tile"));
  for (const Json& one : json.at("evidence")) {
    result.evidence.push_back({tile_of(one.at(0)), one.at(1).get<bool>(), one.at(2).get<std::vector<double>>(),
                               one.at(3).get<double>(), one.at(4).get<double>(), one.at(5).get<double>(),
                               one.at(6).get<std::string>()});
  }
  result.refusals = json.at("refusals").get<std::map<std::string, int>>();
  for (const Json& one : json.at("samples")) {
    result.samples.push_back({one.at(0).get<std::vector<std::int64_t>>(), one.at(1).get<std::vector<std::int64_t>>()});
  }
  return result;
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
  Json refused = Json::array();
  for (const RefusedTile& one : job.refused) refused.push_back({tile_json(one.tile), one.reason});
  Json json = {{"problem", job.problem}, {"batches", job.batches}, {"refused", refused}};
  if (job.ceiling) json["ceiling"] = ceiling_json(*job.ceiling);
  return line_of(json);
}

Result<WorkerJob> parse_worker_job(std::string_view text) {
  return parsed<WorkerJob>(text, "--worker", [](const Json& json) {
    WorkerJob job;
    job.problem = json.at("problem").get<std::size_t>();
    job.batches = json.at("batches").get<std::vector<std::int64_t>>();
    if (json.contains("ceiling")) job.ceiling = ceiling_of(json.at("ceiling"));
    for (const Json& one : json.at("refused"))
      job.refused.push_back({tile_of(one.at(0)), one.at(1).get<std::string>()});
    return job;
  });
}

std::string to_text(const WorkerMessage& message) {
  using Kind = WorkerMessage::Kind;
  switch (message.kind) {
    case Kind::trying:
      return line_of({{"trying", {message.batch, tile_json(message.tile)}}});
    case Kind::timed:
      return line_of({{"timed", {message.batch, tile_json(message.tile), message.best_us}}});
    case Kind::ceiling:
      return line_of({{"ceiling", ceiling_json(message.ceiling)}});
    case Kind::decided:
      return line_of({{"decided", result_json(message.result)}});
    case Kind::failed:
      break;
  }
  return line_of({{"failed", {static_cast<int>(message.error.code), message.error.message}}});
}

Result<WorkerMessage> parse_worker_message(std::string_view line) {
  return parsed<WorkerMessage>(line, "a measuring process's line", [](const Json& json) {
    using Kind = WorkerMessage::Kind;
    WorkerMessage message;
    if (json.contains("trying") || json.contains("timed")) {
      message.kind = json.contains("trying") ? Kind::trying : Kind::timed;
      const Json& body = json.at(json.contains("trying") ? "trying" : "timed");
      message.batch = body.at(0).get<std::int64_t>();
      message.tile = tile_of(body.at(1));
      if (message.kind == Kind::timed) message.best_us = body.at(2).get<double>();
    } else if (json.contains("ceiling")) {
      message.kind = Kind::ceiling;
      message.ceiling = ceiling_of(json.at("ceiling"));
    } else if (json.contains("decided")) {
      message.kind = Kind::decided;
      message.result = result_of(json.at("decided"));
    } else {
      message.kind = Kind::failed;
      const int code = json.at("failed").at(0).get<int>();
      const bool known = code >= 0 && code <= static_cast<int>(ErrorCode::internal);
      message.error = {known ? static_cast<ErrorCode>(code) : ErrorCode::internal,
                       json.at("failed").at(1).get<std::string>()};
    }
    return message;
  });
}

}  // namespace expertile

#include "report/json_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "plan/tile_schema.hpp"
#include "report/unsteady.hpp"
#include "store/config_file.hpp"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

// Paths and names come from users: bytes that are no UTF-8 are replaced, never thrown at.
std::string to_text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n'; }

// A thousandth of a unit is finer than anything that is measured here; small rates keep four digits.
double rounded(double value) {
  const double digits = value == 0 ? 3 : std::max(3.0, 3 - std::floor(std::log10(std::abs(value))));
  const double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

Json rounded(const std::vector<double>& values) {
  Json json = Json::array();
  for (const double value : values) json.push_back(rounded(value));
  return json;
}

Json path_json(const std::filesystem::path& path) { return path.empty() ? Json(nullptr) : Json(path.string()); }

Json tile_json(const TileConfig& tile) {
  Json json;
  for (const auto& [key, number] : tile_numbers(tile)) json[key] = number;
  json["kernel"] = name(tile.kernel);
  return json;
}

Json problem_json(const std::string& projection, const Problem& problem, const ModelActivation& activation) {
  Json json = {{"projection", projection},
               {"experts", problem.experts},
               {"n", problem.n},
               {"k", problem.k},
               {"dtype", std::string(name(problem.dtype))},
               {"block_shape", nullptr},
               {"top_k", problem.top_k},
               {"scales", std::string(name(scales_of(problem)))},
               {"activation", activation.name},
               {"gated", activation.is_gated}};
  if (problem.tf32) json["tf32"] = true;
  if (problem.block_shape) json["block_shape"] = {problem.block_shape->n, problem.block_shape->k};
  return json;
}

Json result_json(const ResultRow& row) {
  const BatchResult& result = row.result;
  Json json = {{"batch", result.batch},
               {"rows", rounded(result.rows)},
               {"default_us", rounded(result.default_us)},
               {"tuned_us", rounded(result.tuned_us)},
               {"ratio", rounded(result.ratio)},
               {"noise", rounded(result.noise)},
               {"spread", rounded(result.spread)},
               {"waited", rounded(result.waited)},
               {"gflops", rounded(gflops(result))},
               {"gbps", rounded(gbps(result))},
               {"config", tile_json(result.tile)},
               {"match", std::string(name(row.match))}};
  if (!row.differs.empty()) json["differs"] = row.differs;
  return json;
}

Json candidate_json(const CandidateEvidence& candidate) {
  Json json = {{"config", tile_json(candidate.tile)}, {"default", candidate.is_default}};
  if (!candidate.refused.empty()) {
    json["refused"] = candidate.refused;
    return json;
  }
  json["median_us"] = rounded(candidate.median_us);
  if (candidate.skewed_us > 0) json["skewed_us"] = rounded(candidate.skewed_us);
  json["error_over_bound"] = candidate.error_over_bound;
  json["times_us"] = rounded(candidate.times_us);
  return json;
}

Json device_json(const DeviceInfo& device) {
  Json json = {{"kind", kind_name(device)},
               {"name", device.name},
               {"isa", isa_name(device)},
               {"free_memory_bytes", device.free_memory_bytes},
               {"versions", device.versions}};
  if (device.is_gpu()) {
    const GpuInfo& gpu = device.gpu();
    json.update({{"compute_capability", gpu.compute_capability},
                 {"multiprocessors", gpu.multiprocessors},
                 {"shared_bytes_per_block", gpu.shared_bytes_per_block},
                 {"l2_bytes", gpu.l2_bytes},
                 {"memory_bytes_per_second", gpu.memory_bytes_per_second}});
  } else {
    const CpuInfo& cpu = device.cpu();
    json.update({{"threads", cpu.threads},
                 {"l1_bytes_core", cpu.l1_bytes_core},
                 {"l2_bytes_core", cpu.l2_bytes_core},
                 {"l3_bytes", cpu.l3_bytes}});
  }
  return json;
}

}  // namespace

std::string problems_json(const std::vector<ProjectionReport>& reports, bool with_results) {
  Json problems = Json::array();
  for (const ProjectionReport& report : reports) {
    Json problem = problem_json(report.projection, report.problem, report.activation);
    problem["file"] = path_json(report.file);
    if (with_results) {
      Json results = Json::array();
      for (const ResultRow& row : report.results) results.push_back(result_json(row));
      problem["results"] = std::move(results);
    }
    problems.push_back(std::move(problem));
  }
  Json document = {{"problems", std::move(problems)}};
  if (const std::string warning = unsteady_warning(reports); !warning.empty()) document["warning"] = warning;
  return to_text(document);
}

std::string selections_json(const std::vector<ShownProjection>& shown) {
  Json problems = Json::array();
  for (const ShownProjection& one : shown) {
    Json problem = problem_json(one.projection, one.problem, {one.activation, one.is_gated});
    problem["wanted"] = path_json(one.wanted);
    Json results = Json::array();
    for (const auto& [batch, rows, selection] : one.batches) {
      results.push_back({{"batch", batch},
                         {"rows", rows},
                         {"config", tile_json(selection.tile)},
                         {"match", std::string(name(selection.match))},
                         {"tuned_batch", selection.match == Match::built_in ? Json(nullptr) : Json(selection.batch)},
                         {"file", path_json(selection.file)}});
      if (!selection.differs.empty()) results.back()["differs"] = selection.differs;
    }
    problem["results"] = std::move(results);
    problems.push_back(std::move(problem));
  }
  return to_text({{"problems", std::move(problems)}});
}

std::string info_json(const std::string& version, const std::filesystem::path& config_dir,
                      const std::vector<DeviceInfo>& devices, const std::vector<std::string>& unavailable,
                      const std::map<std::string, std::string>& libraries) {
  Json json;
  json["version"] = version;
  json["config_dir"] = config_dir.string();
  json["devices"] = Json::array();
  for (const DeviceInfo& device : devices) json["devices"].push_back(device_json(device));
  json["unavailable"] = unavailable;
  json["libraries"] = libraries;
  return to_text(json);
}

std::filesystem::path evidence_path(const std::filesystem::path& config_file) {
  return std::filesystem::path(config_file).replace_extension(".report.json");
}

std::string evidence_json(const ProjectionReport& report, const Ceiling& ceiling,
                          const std::map<std::string, std::string>& metadata) {
  Json json;
  json["problem"] = problem_json(report.projection, report.problem, report.activation);
  json["metadata"] = metadata;
  json["ceiling"] = {{"gbps", rounded(ceiling.bytes_per_s * 1e-9)}, {"gflops", rounded(ceiling.flops_per_s * 1e-9)}};
  json["batches"] = Json::object();
  for (const ResultRow& row : report.results) {
    Json batch = result_json(row);
    batch["ceiling_us"] = rounded(row.result.ceiling_us);
    batch["refusals"] = row.result.refusals;
    batch["duel"] = {{"default_us", rounded(row.result.duel.default_us)},
                     {"challenger_us", rounded(row.result.duel.challenger_us)}};
    batch["seg_indptr"] = Json::array();  // of every routing sample: enough to repeat the measurement elsewhere
    for (const RoutingSample& sample : row.result.samples) batch["seg_indptr"].push_back(sample.seg_indptr);
    batch["candidates"] = Json::array();
    for (const CandidateEvidence& candidate : row.result.evidence) {
      batch["candidates"].push_back(candidate_json(candidate));
    }
    json["batches"][std::to_string(row.result.batch)] = std::move(batch);
  }
  return to_text(json);
}

}  // namespace expertile

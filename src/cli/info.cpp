// expertile info: devices, their limits, versions, where files are.

#include <fmt/format.h>
#include <spdlog/version.h>

#include <CLI/Version.hpp>

#include "cli/commands.hpp"
#include "report/json_report.hpp"

namespace expertile::cli {
namespace {

std::string bytes_text(std::int64_t bytes) {
  if (bytes <= 0) return "unknown";
  const auto value = static_cast<double>(bytes);
  if (bytes >= std::int64_t{1} << 30) return fmt::format("{:.1f} GiB", value / (1 << 30));
  if (bytes >= std::int64_t{1} << 20) return fmt::format("{:.1f} MiB", value / (1 << 20));
  return fmt::format("{:.0f} KiB", value / (1 << 10));
}

std::map<std::string, std::string> library_versions() {
  return {{"CLI11", CLI11_VERSION},
          {"fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
          {"spdlog", fmt::format("{}.{}.{}", SPDLOG_VER_MAJOR, SPDLOG_VER_MINOR, SPDLOG_VER_PATCH)},
          {"compiler", fmt::format("GCC-compatible {}", __VERSION__)}};
}

void print_device(const DeviceInfo& device) {
  const auto line = [](std::string_view what, const std::string& value) { fmt::print("  {:<22}{}\n", what, value); };
  fmt::print("device {}: {}\n", kind_name(device), device.name);
  if (device.is_gpu()) {
    const GpuInfo& gpu = device.gpu();
    line("architecture", arch_name(gpu));
    line("multiprocessors", fmt::format("{}", gpu.multiprocessors));
    line("shared memory a block", bytes_text(gpu.shared_bytes_per_block));
    line("L2", bytes_text(gpu.l2_bytes));
    line("free memory", bytes_text(device.free_memory_bytes));
    if (gpu.memory_bytes_per_second > 0) {
      line("memory rate", fmt::format("{:.2f} TB/s", static_cast<double>(gpu.memory_bytes_per_second) / 1e12));
    }
  } else {
    const CpuInfo& cpu = device.cpu();
    line("instruction set", std::string(name(cpu.isa)));
    line("threads", fmt::format("{}", cpu.threads));
    line("L1 a core", bytes_text(cpu.l1_bytes_core));
    line("L2 a core", bytes_text(cpu.l2_bytes_core));
    line("L3", bytes_text(cpu.l3_bytes));
    line("memory", bytes_text(device.free_memory_bytes));
  }
  for (const auto& [what, version] : device.versions) line(what, version);
}

}  // namespace

Result<int> run_info(const run::TextOptions& text) {
  const auto threads = run::parse_threads(text);
  if (!threads) return fail(threads.error());
  const auto config_dir = run::parse_config_dir(text);
  if (!config_dir) return fail(config_dir.error());
  const auto backend = open_backend(text.device.value_or("auto"), *threads);
  if (!backend) return fail(backend.error());
  // what opening them says of the devices this build does not have
  std::vector<std::string> unavailable;
  if (const auto cuda = open_backend("cuda"); !cuda) unavailable.push_back(cuda.error().message);
  if (text.json) {
    fmt::print("{}", info_json(EXPERTILE_VERSION, *config_dir, {(*backend)->info()}, unavailable, library_versions()));
    return 0;
  }
  fmt::print("expertile {}\n", EXPERTILE_VERSION);
  print_device((*backend)->info());
  for (const std::string& line : unavailable) fmt::print("not available: {}\n", line);
  fmt::print("configuration files: {}\n", config_dir->string());
  for (const auto& [library, version] : library_versions()) fmt::print("{} {}\n", library, version);
  return 0;
}

}  // namespace expertile::cli

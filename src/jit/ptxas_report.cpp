#include "jit/ptxas_report.hpp"

#include <fmt/format.h>

#include <charconv>

namespace expertile::jit {
namespace {

constexpr std::size_t kMostAdvisories = 16;

// The whole number that ends just before position `end`; 0 where there is none.
int number_before(std::string_view line, std::size_t end) {
  std::size_t begin = end;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  int value = 0;
  std::from_chars(line.data() + begin, line.data() + end, value);
  return value;
}

// "12 bytes spill stores" -> 12 for " bytes spill stores".
void read_number(std::string_view line, std::string_view behind, int& value) {
  if (const auto at = line.find(behind); at != std::string_view::npos) value = number_before(line, at);
}

}  // namespace

Resources parse_ptxas_report(std::string_view log) {
  Resources resources;
  while (!log.empty()) {
    const auto end = log.find('\n');
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(end == std::string_view::npos ? log.size() : end + 1);
    read_number(line, " registers", resources.registers);
    read_number(line, " bytes spill stores", resources.spill_store_bytes);
    read_number(line, " bytes spill loads", resources.spill_load_bytes);
    read_number(line, " bytes stack frame", resources.stack_bytes);
    read_number(line, " bytes smem", resources.shared_bytes);
    if (line.find("(C75") != std::string_view::npos && resources.advisories.size() < kMostAdvisories) {
      resources.advisories.emplace_back(line);
    }
  }
  return resources;
}

Status refuse_if_slow(const Resources& resources) {
  if (resources.spill_store_bytes > 0 || resources.spill_load_bytes > 0) {
    return fail(ErrorCode::unsupported, fmt::format("spills {} bytes of registers (and reloads {})",
                                                    resources.spill_store_bytes, resources.spill_load_bytes));
  }
  if (resources.stack_bytes > 0) {
    return fail(ErrorCode::unsupported, fmt::format("keeps {} bytes of arrays in local memory", resources.stack_bytes));
  }
  if (!resources.advisories.empty()) return fail(ErrorCode::unsupported, resources.advisories.front());
  return {};
}

}  // namespace expertile::jit

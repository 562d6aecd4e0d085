#include "capi/status.hpp"

#include <array>

namespace expertile::capi {
namespace {

// What the header promises: this thread's latest line. Each thread has its own, so nothing is shared.
std::string& last_line() {
  thread_local std::string line;
  return line;
}

}  // namespace

expertile_status status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return EXPERTILE_INVALID_ARGUMENT;
    case ErrorCode::not_found:
      return EXPERTILE_NOT_FOUND;
    case ErrorCode::unsupported:
      return EXPERTILE_UNSUPPORTED;
    case ErrorCode::io:
      return EXPERTILE_IO_ERROR;
    case ErrorCode::internal:
      break;
  }
  return EXPERTILE_INTERNAL_ERROR;
}

expertile_status refuse(const Error& error) noexcept {
  try {
    std::string& line = last_line();
    line = error.message;
    for (char& c : line) {
      if (c == '\n' || c == '\r') c = ' ';
    }
  } catch (const std::bad_alloc&) {
    last_line().clear();
  }
  return status_of(error.code);
}

}  // namespace expertile::capi

extern "C" {

const char* expertile_version(void) { return EXPERTILE_VERSION; }

const char* expertile_last_error(void) { return expertile::capi::last_line().c_str(); }

const char* expertile_status_name(expertile_status status) {
  static constexpr std::array kNames = {"ok",          "invalid_argument", "not_found",
                                        "unsupported", "io_error",         "internal_error"};
  const auto index = static_cast<std::size_t>(status);
  return index < kNames.size() ? kNames[index] : "?";
}

}  // extern "C"

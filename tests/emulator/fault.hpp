#pragma once
// How a fault leaves the fiber that made it.

#include <cstring>
#include <optional>
#include <string>

#include "emulator/emulator.hpp"

namespace expertile::emulator {

// The whole line: block, thread, place and what is wrong.
struct Fault {
  std::string text;
};

// What is wrong, and with which thread.
struct Wrong {
  int thread = 0;
  std::string what;
};

inline const char* file_name(const Where& where) {
  const char* slash = std::strrchr(where.file_name(), '/');
  return slash == nullptr ? where.file_name() : slash + 1;
}

}  // namespace expertile::emulator

#pragma once
// How much a fuzz test tries.

#include <string>

#include "files/files.hpp"

namespace expertile::testing {

// Inputs of one run: `usual`, or what EXPERTILE_FUZZ_INPUTS asks for.
inline int fuzz_inputs(int usual) {
  const std::string wanted = environment("EXPERTILE_FUZZ_INPUTS");
  return wanted.empty() ? usual : std::stoi(wanted);
}

}  // namespace expertile::testing

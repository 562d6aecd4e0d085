#pragma once
// What the assembler says of a kernel: registers, spills, shared memory, advisories.

#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::jit {

struct Resources {
  int registers = 0;  // a thread
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  int stack_bytes = 0;
  int shared_bytes = 0;                 // static
  std::vector<std::string> advisories;  // lines with a code C75xx
};

// Numbers that the log does not have stay 0.
[[nodiscard]] Resources parse_ptxas_report(std::string_view log);

// A kernel that spills registers, keeps arrays in local memory or has its matrix instructions serialised is refused: it
// runs, but several times slower than its neighbours.
[[nodiscard]] Status refuse_if_slow(const Resources& resources);

}  // namespace expertile::jit

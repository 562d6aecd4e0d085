#include "emulator/emulated_steps.hpp"

namespace expertile::testing {

std::vector<EmulatedRows> rows_of_bfloat16() { return rows_of<Storage::bfloat16>(); }

}  // namespace expertile::testing

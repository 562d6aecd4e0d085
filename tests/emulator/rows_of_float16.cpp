#include "emulator/emulated_steps.hpp"

namespace expertile::testing {

std::vector<EmulatedRows> rows_of_float16() { return rows_of<Storage::float16>(); }

}  // namespace expertile::testing

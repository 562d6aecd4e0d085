#include "emulator/emulated_steps.hpp"

namespace expertile::testing {

std::vector<EmulatedRows> rows_of_float32() { return rows_of<Storage::float32>(); }

}  // namespace expertile::testing

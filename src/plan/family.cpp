#include "plan/family.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "plan/cpu/family.hpp"
#include "plan/sm80/family.hpp"
#include "plan/sm90/family.hpp"
#include "plan/tile_schema.hpp"

namespace expertile {

const Family& functions_of(KernelFamily family) {
  static constexpr std::array<const Family*, kFamilies.size()> kFunctions = {&cpu::kFamily, &sm80::kFamily,
                                                                             &sm90::kFamily};
  return *kFunctions[static_cast<std::size_t>(family)];
}

std::vector<KernelFamily> families_of(const Problem& problem, const DeviceInfo& device) {
  std::vector<KernelFamily> families;
  std::copy_if(kFamilies.begin(), kFamilies.end(), std::back_inserter(families),
               [&](KernelFamily family) { return functions_of(family).supports(problem, device); });
  return families;
}

}  // namespace expertile

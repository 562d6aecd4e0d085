#pragma once
// What every backend can do. The tuner, the API and the command line know backends by this header alone.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "expertile/grouped_gemm.hpp"

namespace expertile {

struct DeviceInfo {
  std::string kind;  // "cpu"
  std::string name;  // as it stands in paths: letters, digits, '_', '-' and '.'
  std::string isa;   // instruction set the kernels were chosen for: "avx512_bf16", "avx512", "avx2", "portable"
  int threads = 1;
  std::int64_t l1_bytes = 32 << 10;  // a core
  std::int64_t l2_bytes = 1 << 20;   // a core
  std::int64_t l3_bytes = 0;         // all; 0 where unknown
  std::int64_t memory_bytes = 0;     // free for tensors; 0 where unknown
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual const DeviceInfo& info() const noexcept = 0;
  // Runs the operation with a tile that plan::check_tile accepted. The arguments were validated before.
  virtual void run(const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& args) const = 0;
};

// device: "auto" or "cpu". threads: 0 for all. isa: empty for the best this machine has, else one of DeviceInfo::isa's
// values (tests walk them all).
[[nodiscard]] Result<std::unique_ptr<Backend>> make_backend(std::string_view device, int threads,
                                                            std::string_view isa = {});

}  // namespace expertile

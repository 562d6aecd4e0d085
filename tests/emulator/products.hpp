#pragma once
// The products of a block's warpgroups: started together, computed by each warp at the wait that retires them.
//
// Until then the sums' registers hold a mark that no sum is, so that who reads them too early has nonsense and who
// writes them is found; so is who writes registers that hold x.

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "emulator/clocks.hpp"
#include "emulator/fault.hpp"
#include "emulator/shared_memory.hpp"
#include "kernel_shape.hpp"

namespace expertile::emulator {

// What a thread brings to wgmma.
struct ProductCall {
  Product product = Product::float16;
  int columns = 0;
  const unsigned* registers = nullptr;  // [4] x, where it is in registers
  unsigned long long x = 0;             // else its descriptor
  unsigned long long y = 0;
  void* d = nullptr;  // [columns / 8, 4] float or int
  bool accumulates = false;
};

class Products {
 public:
  // first_thread: the block's first thread's number in its cluster; below, threads and warps are the block's.
  Products(int warps, int first_thread, SharedMemory& shared, const Clocks& clocks)
      : warps_(static_cast<std::size_t>(warps)), threads_before_(first_thread), shared_(shared), clocks_(clocks) {}

  // lanes: the 128 threads' ProductCall, in order.
  [[nodiscard]] std::optional<Wrong> start(int first_thread, const Lanes& lanes);
  void fence(int warp) { state(warp).fenced = true; }
  void commit(int warp);
  // Computes the warp's oldest groups until at most `pending` are left.
  [[nodiscard]] std::optional<Wrong> wait(int warp, std::size_t pending);
  // Whether the warp has no product that it has not waited for.
  [[nodiscard]] bool is_idle(int warp) const;

 private:
  // The sums of a warp while products that add to them are under way.
  struct Sums {
    std::array<unsigned char*, kWarp> d;  // each lane's [columns / 8, 4]
    std::size_t columns = 0;
    int under_way = 0;
    std::vector<double> values;  // [16, columns]
  };
  // One product of four warps.
  struct Shared {
    Product product = Product::float16;
    std::size_t columns = 0;
    std::vector<unsigned> chunks;  // of 16 bytes: x's [64, 2], unless in registers, and then y's [columns, 2]
    bool has_x = false;            // among the chunks
    std::vector<double> x;         // [64, elements]; from registers at once, else when first needed
    std::vector<double> y;         // [elements, columns]; when first needed
  };
  // The registers of a warp that hold x, and what was in them: must stay until the product's end.
  struct LaneOperand {
    const unsigned* at = nullptr;  // [4]
    std::array<unsigned, 4> words{};
  };
  struct OfWarp {
    std::shared_ptr<Shared> shared;
    std::shared_ptr<Sums> sums;
    bool accumulates = false;
    std::vector<LaneOperand> x;  // [32] where it is in registers
  };
  struct Warp {
    bool fenced = false;  // since the last wait
    std::vector<OfWarp> open;
    std::deque<std::vector<OfWarp>> groups;      // committed, oldest first
    std::vector<std::shared_ptr<Sums>> writing;  // with products under way
  };
  Warp& state(int warp) { return warps_[static_cast<std::size_t>(warp)]; }
  [[nodiscard]] std::optional<Wrong> check_calls(int first_thread, const Lanes& lanes);
  [[nodiscard]] std::optional<Wrong> add_operand(int first_thread, const char* name, unsigned long long descriptor,
                                                 std::size_t rows, std::vector<unsigned>& chunks) const;
  [[nodiscard]] std::shared_ptr<Sums> sums_of(int warp, const Lanes& lanes, const ProductCall& call);
  void gather(Shared& one) const;
  [[nodiscard]] static std::vector<LaneOperand> operand_of(int warp, const Lanes& lanes);
  [[nodiscard]] static std::optional<Wrong> check_operand(int warp, const OfWarp& one);
  [[nodiscard]] std::optional<Wrong> retire(int warp, OfWarp& one);

  std::vector<Warp> warps_;
  int threads_before_;
  SharedMemory& shared_;
  const Clocks& clocks_;
};

}  // namespace expertile::emulator

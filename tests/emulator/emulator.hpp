#pragma once
// Runs device text on the host: the threads of a block are fibers, and everything that they do to memory is checked.
//
// It is stricter than a GPU. Stopped, with the thread, the place in the source and the address, are: an access outside
// the launch's memory, a misaligned one, a read of shared memory that nothing has filled or whose copy has not been
// waited for, two threads that touch the same shared memory between two barriers (one of them writing), a byte of
// output that is written twice, a barrier or warp operation that not all threads reach, and threads that wait for each
// other. Asynchronous copies read their source and write their target at the wait that forces them, never before.

#include <cstddef>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::emulator {

using Where = std::source_location;

// Global memory that a launch may touch. Outputs may be written once and never read; counters are added to and written,
// as often as one likes.
struct Region {
  std::string name;
  const void* begin = nullptr;
  std::size_t bytes = 0;
  bool is_output = false;
  bool is_counter = false;
};

struct Launch {
  int blocks = 1;        // a multiple of the cluster's
  int threads = 32;      // of a block, a multiple of 32
  int shared_bytes = 0;  // dynamic shared memory of a block
  int cluster_size = 1;  // blocks of a cluster, 1 to 8
  std::vector<Region> memory;
};

// Runs the clusters one after the other, the blocks of each side by side. The error is the first fault: "block 2 thread
// 37, mainloop.hpp:251: ...".
[[nodiscard]] Status run(const Launch& launch, const std::function<void()>& kernel);

// ---- what tests/emulator/ptx.hpp is made of; only inside a kernel that run() runs --------------------------------

[[nodiscard]] int thread_index();
[[nodiscard]] int block_index();
[[nodiscard]] int grid_size();
void barrier(const Where& where);

void read_global(const void* from, std::size_t bytes, void* to, const Where& where);
void write_global(void* to, std::size_t bytes, const void* from, const Where& where);
int add_global(int* to, int value, const Where& where);
void read_shared(unsigned offset, std::size_t bytes, void* to, const Where& where);
void write_shared(unsigned offset, std::size_t bytes, const void* from, const Where& where);
int add_shared(unsigned offset, int value, const Where& where);

// 16 bytes of shared memory from `bytes` (0 to 16) of global memory and zeros.
void copy_async(unsigned offset, const void* from, int bytes, const Where& where);
void commit_copies();
void wait_for_copies(int pending_groups, const Where& where);

// A warp operation: every lane brings `argument`; once all 32 are there, `operate` sees all of them, by lane, once.
using Lanes = std::vector<void*>;
void together(const char* name, void* argument, const std::function<void(const Lanes&)>& operate, const Where& where);
// For warp operations that read shared memory: checks and copies on behalf of one lane.
void read_shared_of_lane(int lane, unsigned offset, std::size_t bytes, void* to, const Where& where);

}  // namespace expertile::emulator

#include "emulator/emulator.hpp"

#include <fmt/format.h>

#include <cstring>

#include "emulator/block.hpp"
#include "emulator/cluster.hpp"

namespace expertile::emulator {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;
constexpr int kMostInCluster = 8;  // on every device with clusters

}  // namespace

Status run(const Launch& launch, const std::function<void()>& kernel) {
  if (launch.cluster_size < 1 || launch.cluster_size > kMostInCluster) {
    return fail(ErrorCode::internal,
                fmt::format("a cluster of {} blocks: 1 to {} are right", launch.cluster_size, kMostInCluster));
  }
  if (launch.blocks % launch.cluster_size != 0) {
    return fail(ErrorCode::internal,
                fmt::format("{} blocks: a multiple of the cluster's {} is right", launch.blocks, launch.cluster_size));
  }
  GlobalMemory global(launch.memory);
  Stacks stacks(kStackBytes);
  for (int i = 0; i < launch.blocks; i += launch.cluster_size) {
    Cluster one(launch, global, stacks, i);
    if (auto fault = one.run(kernel)) return fail(ErrorCode::internal, *fault);
  }
  return {};
}

int thread_index() { return block().current(); }
int block_index() { return block().index(); }
int grid_size() { return block().launch().blocks; }
void barrier(const Where& where) { block().barrier(where); }

void read_global(const void* from, std::size_t bytes, void* to, const Where& where) {
  block().stop_if(block().global.check_read(from, bytes, bytes), where);
  std::memcpy(to, from, bytes);
}
void write_global(void* to, std::size_t bytes, const void* from, const Where& where) {
  block().stop_if(block().global.write(to, bytes, bytes, from), where);
}
int add_global(int* to, int value, const Where& where) {
  block().stop_if(block().global.check_counter(to), where);
  const int before = *to;  // one thread runs at a time
  *to += value;
  return before;
}
void read_shared(unsigned offset, std::size_t bytes, void* to, const Where& where) {
  block().read_shared(block().current(), offset, bytes, to, where);
}
void write_shared(unsigned offset, std::size_t bytes, const void* from, const Where& where) {
  block().write_shared(offset, bytes, from, where);
}
int add_shared(unsigned offset, int value, const Where& where) { return block().add_shared(offset, value, where); }
void copy_async(unsigned offset, const void* from, int bytes, const Where& where) {
  block().copy_async({offset, from, bytes}, where);
}
void commit_copies() { block().commit_copies(); }
void wait_for_copies(int pending_groups, const Where& where) {
  if (pending_groups < 0) block().stop(where, "waits for a negative number of groups");
  block().wait_for_copies(static_cast<std::size_t>(pending_groups));
}
void together(const char* name, void* argument, const std::function<void(const Lanes&)>& operate, const Where& where) {
  block().together(kWarp, name, argument, operate, where);
}
void read_shared_of_lane(int lane, unsigned offset, std::size_t bytes, void* to, const Where& where) {
  block().read_shared(block().warp() * kWarp + lane, offset, bytes, to, where);
}

}  // namespace expertile::emulator

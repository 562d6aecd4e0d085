#include "emulator/hopper.hpp"

#include <cstring>
#include <numeric>
#include <vector>

#include "emulator/block.hpp"
#include "emulator/cluster.hpp"

namespace expertile::emulator {

void mbarrier_init(unsigned offset, int arrivals, const Where& where) {
  block().mbarrier_init(offset, arrivals, where);
}
void mbarrier_fence_inits() { block().mbarriers.fence_inits(block().current_in_cluster()); }
void mbarrier_arrive(unsigned offset, int expected_bytes, const Where& where) {
  block().mbarrier_arrive(offset, expected_bytes, where);
}
void mbarrier_wait(unsigned offset, int parity, const Where& where) { block().mbarrier_wait(offset, parity, where); }
void named_barrier(int id, int threads, const Where& where) { block().named_barrier(id, threads, where); }
void warp_barrier(const Where& where) {
  const auto meet = [](const Lanes&) {
    Block& one = block();
    std::vector<int> lanes(kWarp);
    std::iota(lanes.begin(), lanes.end(), one.first_in_cluster() + one.warp() * kWarp);
    one.clocks.meet(lanes);
  };
  block().together(kWarp, "warp_barrier", nullptr, meet, where);
}

void fence_stores() {
  const int thread = block().current_in_cluster();
  block().shared.fence_stores(block().clocks.observer(thread));
  block().clocks.advance(thread);
}

void copy_box(unsigned offset, const TensorMap& map, int column, int row, unsigned mbarrier, const Where& where) {
  block().cluster().copy_box(block(), offset, map, column, row, mbarrier, 1U << static_cast<unsigned>(cluster_rank()),
                             where);
}
void store_box(unsigned offset, const TensorMap& map, int column, int row, const Where& where) {
  block().store_box(offset, map, column, row, where);
}
void commit_boxes() { block().commit_boxes(); }
void wait_for_boxes(int pending_groups) { block().wait_for_boxes(static_cast<std::size_t>(pending_groups)); }
void prefetch_map(const TensorMap& map, const Where& where) { block().stop_if(check_map(map), where); }

int cluster_rank() { return block().rank(); }
void cluster_barrier(const Where& where) { block().cluster().barrier(block(), where); }
void mbarrier_arrive_at(unsigned offset, int rank, const Where& where) {
  block().cluster().arrive_at(block(), offset, rank, where);
}
void store_shared_to(int rank, unsigned offset, const void* bytes, unsigned mbarrier, const Where& where) {
  SentStore store;
  std::memcpy(store.data(), bytes, store.size());
  block().cluster().store_shared_to(block(), rank, offset, store, mbarrier, where);
}
void copy_box_to(unsigned offset, const TensorMap& map, int column, int row, unsigned mbarrier, unsigned ranks,
                 const Where& where) {
  block().cluster().copy_box(block(), offset, map, column, row, mbarrier, ranks, where);
}

void start_product(ProductCall call, const Where& where) {
  const auto start = [&where](const Lanes& lanes) {
    Block& one = block();
    one.stop_if(one.products.start(one.current() / kWarpgroup * kWarpgroup, lanes), where);
  };
  block().together(kWarpgroup, "wgmma", &call, start, where);
}
void fence_products(const Where& where) {
  const auto fence = [](const Lanes&) { block().products.fence(block().warp()); };
  block().together(kWarp, "wgmma_fence", nullptr, fence, where);
}
void commit_products(const Where& where) {
  const auto commit = [](const Lanes&) { block().products.commit(block().warp()); };
  block().together(kWarp, "wgmma_commit", nullptr, commit, where);
}
void wait_for_products(int pending_groups, const Where& where) {
  if (pending_groups < 0) block().stop(where, "waits for a negative number of groups");
  const auto wait = [&](const Lanes&) {
    Block& one = block();
    one.stop_if(one.products.wait(one.warp(), static_cast<std::size_t>(pending_groups)), where);
  };
  block().together(kWarp, "wgmma_wait", nullptr, wait, where);
}

}  // namespace expertile::emulator
